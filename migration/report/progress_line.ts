/** One line that is written over again and again. */

/**
 * A progress line. On a terminal each update replaces the line before; elsewhere a line is written
 * only when it is the last, so that a log is not filled with progress.
 */
export class ProgressLine {
  readonly #write: (text: string) => void;
  readonly #terminal: boolean;
  readonly #columns: () => number;
  #shown = "";

  /**
   * @param write takes text to show; lines end where the text says so
   * @param terminal true when a carriage return goes back to the line's start
   * @param columns width of the terminal, asked for at each update; a longer line is cut, because a
   * terminal would wrap it and a carriage return would not go back far enough
   */
  constructor(
    write: (text: string) => void,
    terminal: boolean,
    columns: () => number = () => 80,
  ) {
    this.#write = write;
    this.#terminal = terminal;
    this.#columns = columns;
  }

  /** A progress line on one of this process's streams. */
  static on(stream: typeof Deno.stdout | typeof Deno.stderr): ProgressLine {
    const terminal = stream.isTerminal();
    const encoder = new TextEncoder();
    return new ProgressLine(
      // A terminal that was closed, or a pipe without a reader, ends nothing that goes on.
      (text) => void orNothing(() => stream.writeSync(encoder.encode(text))),
      terminal,
      // A terminal without a size says 0.
      () => terminal && orNothing(() => Deno.consoleSize().columns) || 80,
    );
  }

  /** Shows a text without a line end instead of the one before. */
  update(text: string): void {
    const cut = this.#terminal
      ? [...text].slice(0, Math.max(this.#columns() - 1, 1)).join("")
      : text;
    if (this.#terminal && cut !== this.#shown) this.#write(`\r${cut}\x1b[K`); // CSI K: clear to the end
    this.#shown = cut;
  }

  /** Ends the line, so that other text may follow. Ending again does nothing. */
  end(): void {
    if (this.#shown === "") return;
    this.#write(this.#terminal ? "\n" : `${this.#shown}\n`);
    this.#shown = "";
  }

  /** Removes the line, so that other text may take its place. */
  clear(): void {
    if (this.#terminal && this.#shown !== "") this.#write("\r\x1b[K");
    this.#shown = "";
  }
}

function orNothing<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch {
    return undefined;
  }
}
