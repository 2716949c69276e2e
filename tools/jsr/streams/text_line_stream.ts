/** Options for {@linkcode TextLineStream}. */
export interface TextLineStreamOptions {
  /** Whether a lone carriage return ends a line too; `false` by default. */
  allowCR?: boolean;
}

/** Cuts text into lines, without their ends (`\n` or `\r\n`). */
export class TextLineStream extends TransformStream<string, string> {
  /** @param options Which characters end a line. */
  constructor(options: TextLineStreamOptions = {}) {
    // With allowCR, a carriage return at the very end waits: a line feed may still follow it.
    const lineEnd = options.allowCR ? /\r\n|\n|\r(?=[^])/ : /\r?\n/;
    let rest = "";
    super({
      transform(text, controller) {
        const lines = (rest + text).split(lineEnd);
        rest = lines.pop() ?? "";
        for (const line of lines) controller.enqueue(line);
      },
      flush(controller) {
        if (rest === "") return;
        controller.enqueue(options.allowCR ? rest.replace(/\r$/, "") : rest);
      },
    });
  }
}
