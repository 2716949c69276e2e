/**
 * A client of QMP, QEMU's control protocol: one JSON object a line, in both directions.
 *
 * Source of the format: QEMU's docs/interop/qmp-spec.
 *
 * @module
 */
import { EventLog, type WaitOptions } from "./event_log.ts";
import { readLines } from "./lines.ts";

/** An event that QEMU reported. */
export interface QmpEvent {
  /** Its name, such as "MIGRATION". */
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
  /** QEMU's own time of the event, ms since 1970 with microseconds as fraction. */
  readonly timestamp: number;
  /** When it reached us, on the clock of `performance.now()`. */
  readonly arrivedAt: number;
}

/** A command that QEMU refused, or a connection that ended. */
export class QmpError extends Error {
  override readonly name = "QmpError";

  /**
   * @param message What QEMU said.
   * @param code QEMU's error class, such as "GenericError" or "CommandNotFound"; "Closed" when the
   * connection ended.
   */
  constructor(message: string, readonly code: string) {
    super(message);
  }
}

/** What a QMP server sends: one of these a line. */
interface Message {
  QMP?: { version: { qemu: { major: number; minor: number; micro: number }; package: string } };
  id?: number;
  return?: unknown;
  error?: { class: string; desc: string };
  event?: string;
  data?: Record<string, unknown>;
  timestamp?: { seconds: number; microseconds: number };
}

/** The version of a QEMU, as its QMP greeting says. */
export interface QemuVersion {
  readonly major: number;
  readonly minor: number;
  readonly micro: number;
  /** The distributor's name for it, often empty. */
  readonly package: string;
}

/** One QMP session. */
export class QmpClient implements AsyncDisposable {
  /** All events since the session began. */
  readonly events: EventLog<QmpEvent> = new EventLog();
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #pending = new Map<number, PromiseWithResolvers<unknown>>();
  readonly #greeting = Promise.withResolvers<QemuVersion>();
  readonly #reading: Promise<void>;
  #nextId = 1;
  #ended: QmpError | undefined;

  private constructor(
    readable: ReadableStream<Uint8Array<ArrayBuffer>>,
    writable: WritableStream<Uint8Array<ArrayBuffer>>,
  ) {
    this.#writer = writable.getWriter();
    this.#writer.closed.catch(() => {});
    this.#greeting.promise.catch(() => {});
    this.#reading = readLines(readable, (line) => this.#receive(line)).then(
      () => this.#end("QEMU closed the QMP session"),
      (cause) => this.#end(`QMP session broke: ${cause.message}`),
    );
  }

  /**
   * Begins a session over a pair of streams, such as a process started with `-qmp stdio`.
   *
   * @param readable What QEMU sends.
   * @param writable What QEMU reads.
   * @returns The session, ready for commands.
   * @throws {QmpError} When the stream ends before QEMU's greeting.
   */
  static async open(
    readable: ReadableStream<Uint8Array<ArrayBuffer>>,
    writable: WritableStream<Uint8Array<ArrayBuffer>>,
  ): Promise<QmpClient> {
    const client = new QmpClient(readable, writable);
    try {
      await client.version;
      await client.execute("qmp_capabilities");
      return client;
    } catch (error) {
      await client.close();
      throw error;
    }
  }

  /**
   * Connects to a QMP socket.
   *
   * @param address Where QEMU listens: TCP or a unix socket.
   * @returns The session, ready for commands.
   * @throws {QmpError} When what answers is no QMP server.
   */
  static async connect(
    address:
      | { transport?: "tcp"; hostname: string; port: number }
      | { transport: "unix"; path: string },
  ): Promise<QmpClient> {
    const connection: Deno.TcpConn | Deno.UnixConn = address.transport === "unix"
      ? await Deno.connect(address)
      : await Deno.connect({ hostname: address.hostname, port: address.port });
    return await QmpClient.open(connection.readable, connection.writable);
  }

  /** QEMU's version, from its greeting. */
  get version(): Promise<QemuVersion> {
    return this.#greeting.promise;
  }

  /**
   * Runs a command and waits for its answer.
   *
   * @param command Its name, such as "query-migrate".
   * @param args Its arguments.
   * @returns What QEMU returned.
   * @throws {QmpError} When QEMU refuses it or the session ends first.
   */
  async execute<T = unknown>(command: string, args?: Record<string, unknown>): Promise<T> {
    if (this.#ended !== undefined) throw this.#ended;
    const id = this.#nextId++;
    const answer = Promise.withResolvers<unknown>();
    this.#pending.set(id, answer);
    const text = JSON.stringify({ execute: command, id, ...(args && { arguments: args }) });
    // A failing write means that QEMU went away; the reader then rejects the answer.
    this.#writer.write(new TextEncoder().encode(`${text}\n`)).catch(() => {});
    return await answer.promise as T;
  }

  /**
   * Waits for an event.
   *
   * @param name Its name, such as "STOP".
   * @param matches A further condition on its data.
   * @param options Where in {@linkcode events} to begin, and when to give up.
   * @returns The event.
   * @throws {Error} When the session ends or the deadline passes first.
   */
  waitForEvent(
    name: string,
    matches: (data: Readonly<Record<string, unknown>>) => boolean = () => true,
    options?: WaitOptions,
  ): Promise<QmpEvent> {
    return this.events.wait(
      `event ${name}`,
      (event) => event.name === name && matches(event.data),
      options,
    );
  }

  /** Ends the session; what still waits for an answer fails. Closing twice is harmless. */
  async close(): Promise<void> {
    await this.#writer.close().catch(() => {});
    await this.#reading;
  }

  /** Ends the session. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #receive(line: string): void {
    if (line.trim() === "") return;
    const message: Message = JSON.parse(line);
    if (message.QMP !== undefined) {
      const { qemu, package: name } = message.QMP.version;
      this.#greeting.resolve({ ...qemu, package: name });
    } else if (message.event !== undefined) {
      const { seconds = 0, microseconds = 0 } = message.timestamp ?? {};
      this.events.push({
        name: message.event,
        data: message.data ?? {},
        timestamp: seconds * 1000 + microseconds / 1000,
        arrivedAt: performance.now(),
      });
    } else if (message.id !== undefined) {
      const answer = this.#pending.get(message.id);
      this.#pending.delete(message.id);
      if (message.error === undefined) answer?.resolve(message.return);
      else answer?.reject(new QmpError(message.error.desc, message.error.class));
    }
  }

  #end(reason: string): void {
    this.#ended = new QmpError(reason, "Closed");
    this.#greeting.reject(this.#ended);
    for (const answer of this.#pending.values()) answer.reject(this.#ended);
    this.#pending.clear();
    this.events.end(this.#ended);
  }
}
