/** A session of QMP, QEMU's control protocol, over a pair of streams. */

import { readLines } from "./lines.ts";
import { parseQmpMessage, type QemuVersion, QmpError, type QmpEvent } from "./qmp_message.ts";

/** Characters of a line at most: what QEMU says of a migration has some thousands. */
const LONGEST_LINE = 1 << 20;

/** Who hears what a session says by itself. */
export interface QmpListener {
  /** An event came. */
  readonly onEvent?: (event: QmpEvent) => void;
  /** The session is over. */
  readonly onEnd?: (reason: QmpError) => void;
  /** Cuts the connection, where it can be: without, the session is ended by its streams. */
  readonly cut?: () => void;
}

/** One QMP session. */
export class QmpSession implements AsyncDisposable {
  readonly #listener: QmpListener;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #pending = new Map<unknown, PromiseWithResolvers<unknown>>();
  readonly #greeting = Promise.withResolvers<QemuVersion>();
  readonly #reading: Promise<void>;
  #greeted = false;
  #outOfBand = true;
  #nextId = 1;
  #ended: QmpError | undefined;

  private constructor(
    readable: ReadableStream<Uint8Array<ArrayBuffer>>,
    writable: WritableStream<Uint8Array<ArrayBuffer>>,
    listener: QmpListener,
  ) {
    this.#listener = listener;
    this.#writer = writable.getWriter();
    this.#writer.closed.catch(() => {});
    this.#greeting.promise.catch(() => {});
    this.#reading = readLines(readable, (line) => this.#receive(line), undefined, LONGEST_LINE)
      .then(
        () => this.#end(new QmpError("QEMU closed the QMP session", "Closed")),
        (cause) => this.#end(whyEnded(cause)),
      );
  }

  /**
   * Begins a session, with commands out of band where QEMU has them.
   *
   * @param readable what QEMU sends
   * @param writable what QEMU reads
   * @returns the session, ready for commands
   * @throws {QmpError} `Closed` when the stream ends before QEMU's greeting, `NotQmp` when what comes is none
   */
  static async open(
    readable: ReadableStream<Uint8Array<ArrayBuffer>>,
    writable: WritableStream<Uint8Array<ArrayBuffer>>,
    listener: QmpListener = {},
  ): Promise<QmpSession> {
    const session = new QmpSession(readable, writable, listener);
    try {
      await session.version;
      await session.#negotiate();
      return session;
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  /** QEMU's version, from its greeting. */
  get version(): Promise<QemuVersion> {
    return this.#greeting.promise;
  }

  /** Why it is over, if it is. */
  get ended(): QmpError | undefined {
    return this.#ended;
  }

  /**
   * Runs a command and waits for its answer.
   *
   * @param command its name, such as "query-migrate"
   * @param args its arguments
   * @returns what QEMU returned
   * @throws {QmpError} when QEMU refuses it or the session ends first
   */
  async execute<T = unknown>(command: string, args?: Record<string, unknown>): Promise<T> {
    return await this.#request("execute", command, args) as T;
  }

  /**
   * The same out of band, past a main loop that waits for guest memory; for few commands. On a monitor that
   * cannot do that, one that shares its stream with others, as any other command.
   */
  async executeOutOfBand<T = unknown>(
    command: string,
    args?: Record<string, unknown>,
  ): Promise<T> {
    return await this.#request(this.#outOfBand ? "exec-oob" : "execute", command, args) as T;
  }

  /** Ends the session; what still waits for an answer fails. Closing twice is harmless. */
  async close(): Promise<void> {
    const closing = this.#writer.close().catch(() => {});
    if (this.#listener.cut === undefined) await closing;
    else this.#listener.cut();
    await this.#reading;
  }

  /** Ends the session. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #negotiate(): Promise<void> {
    try {
      await this.execute("qmp_capabilities", { enable: ["oob"] });
    } catch (error) {
      if (this.#ended !== undefined) throw error;
      this.#outOfBand = false;
      await this.execute("qmp_capabilities");
    }
  }

  async #request(
    how: "execute" | "exec-oob",
    command: string,
    args: Record<string, unknown> | undefined,
  ): Promise<unknown> {
    if (this.#ended !== undefined) throw this.#ended;
    const id = this.#nextId++;
    const answer = Promise.withResolvers<unknown>();
    this.#pending.set(id, answer);
    const text = JSON.stringify({ [how]: command, id, ...(args && { arguments: args }) });
    // A failing write means that QEMU went away; the reader then rejects the answer.
    this.#writer.write(new TextEncoder().encode(`${text}\n`)).catch(() => {});
    return await answer.promise;
  }

  #receive(line: string): void {
    if (line.trim() === "") return;
    const message = parseQmpMessage(line);
    if (!this.#greeted && message?.kind !== "greeting") {
      throw new QmpError(`No QMP greeting: ${JSON.stringify(line.slice(0, 60))}`, "NotQmp");
    }
    switch (message?.kind) {
      case "greeting":
        this.#greeted = true;
        return this.#greeting.resolve(message.version);
      case "event":
        return this.#listener.onEvent?.(message.event);
      case "answer":
        return this.#settle(message.id)?.resolve(message.value);
      case "refusal":
        return this.#settle(message.id)?.reject(message.error);
    }
  }

  #settle(id: unknown): PromiseWithResolvers<unknown> | undefined {
    const answer = this.#pending.get(id);
    this.#pending.delete(id);
    return answer;
  }

  #end(reason: QmpError): void {
    this.#ended = reason;
    this.#listener.cut?.();
    this.#greeting.reject(reason);
    for (const answer of this.#pending.values()) answer.reject(reason);
    this.#pending.clear();
    this.#listener.onEnd?.(reason);
  }
}

function whyEnded(cause: unknown): QmpError {
  if (cause instanceof QmpError) return cause;
  const { message } = cause as Error;
  return cause instanceof RangeError
    ? new QmpError(`No QMP: ${message}`, "NotQmp")
    : new QmpError(`QMP session broke: ${message}`, "Closed");
}
