/**
 * What a guest prints on its serial port.
 *
 * @module
 */
import { EventLog, type WaitOptions } from "./event_log.ts";
import { readLines } from "./lines.ts";

/** One line that the guest has printed. */
export interface SerialLine {
  readonly text: string;
  /** When its end reached us, on the clock of `performance.now()`. */
  readonly arrivedAt: number;
}

/** Reads a guest's serial port to its end. */
export class SerialLog {
  /** The lines that are complete. */
  readonly lines: EventLog<SerialLine> = new EventLog();
  readonly #pieces: EventLog<number> = new EventLog();
  readonly #reading: Promise<void>;
  #text = "";

  /** @param stream Where QEMU writes the bytes; read until it ends. */
  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.#reading = readLines(
      stream,
      (text) => this.lines.push({ text, arrivedAt: performance.now() }),
      (text) => {
        this.#text += text;
        this.#pieces.push(performance.now());
      },
    ).catch(() => {}).then(() => {
      const reason = new Error("QEMU closed the serial port");
      this.lines.end(reason);
      this.#pieces.end(reason);
    });
  }

  /** Everything printed so far; complete once {@linkcode ended} is. */
  get text(): string {
    return this.#text;
  }

  /** Fulfilled when QEMU has closed the port, which it does when it ends. */
  get ended(): Promise<void> {
    return this.#reading;
  }

  /**
   * Waits until the guest prints anything at all.
   *
   * @param options When to give up.
   * @returns When the first byte came, on the clock of `performance.now()`.
   * @throws {Error} When the port ends or the deadline passes first.
   */
  firstOutput(options?: WaitOptions): Promise<number> {
    return this.#pieces.wait("serial output", () => true, options);
  }

  /**
   * Waits for a line.
   *
   * @param what Name of what is awaited, for the error.
   * @param matches The condition on its text.
   * @param options Where in {@linkcode lines} to begin, and when to give up.
   * @returns The line.
   * @throws {Error} When the port ends or the deadline passes first.
   */
  waitForLine(
    what: string,
    matches: (text: string) => boolean,
    options?: WaitOptions,
  ): Promise<SerialLine> {
    return this.lines.wait(what, (line) => matches(line.text), options);
  }
}
