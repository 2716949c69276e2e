/** Server-sent events, as a stream of bytes brings them. */

/** One event. */
export interface ServerEvent {
  /** Its place in the log, by which a reader goes on; absent for one that is in no log. */
  readonly id?: string;
  /** Its kind. */
  readonly event: string;
  /** What it tells. */
  readonly data: string;
}

/**
 * Takes a stream apart: lines end with LF, CR or both, an empty line ends an event, and `:` begins a comment
 * (WHATWG HTML, 9.2.6).
 *
 * @param stream ends when the server does, or the reader leaves
 */
export async function* serverEvents(
  stream: ReadableStream<Uint8Array>,
): AsyncGenerator<ServerEvent> {
  let id: string | undefined;
  let event = "";
  let data: string[] = [];
  for await (const line of lines(stream)) {
    if (line === "") {
      if (data.length > 0) {
        yield {
          event: event === "" ? "message" : event,
          data: data.join("\n"),
          ...id === undefined ? {} : { id },
        };
      }
      [id, event, data] = [undefined, "", []];
      continue;
    }
    const [, name = "", value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (name === "data") data.push(value);
    else if (name === "event") event = value;
    else if (name === "id") id = value;
  }
}

/** Lines of a stream; what comes behind the last end of a line is none. */
async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  let afterReturn = false;
  for await (const chunk of stream) {
    let text = decoder.decode(chunk, { stream: true });
    if (text === "") continue;
    // An LF that belongs to a CR of the chunk before.
    if (afterReturn && text.startsWith("\n")) text = text.slice(1);
    afterReturn = (rest + text).endsWith("\r");
    const found = (rest + text).split(/\r\n|\r|\n/);
    rest = found.pop()!;
    yield* found;
  }
}
