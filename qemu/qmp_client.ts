/**
 * A client of QMP for tests, the demo and the benchmarks: a session whose events can be waited for, those that
 * came before included.
 *
 * @module
 */
import { type QemuVersion, QmpError, type QmpEvent } from "../migration/qmp/qmp_message.ts";
import { QmpSession } from "../migration/qmp/qmp_session.ts";
import { EventLog, type WaitOptions } from "./event_log.ts";

export { QmpError };
export type { QemuVersion, QmpEvent };

/** One QMP session. */
export class QmpClient implements AsyncDisposable {
  /** All events since the session began. */
  readonly events: EventLog<QmpEvent>;
  readonly #session: QmpSession;

  private constructor(session: QmpSession, events: EventLog<QmpEvent>) {
    this.#session = session;
    this.events = events;
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
    const events = new EventLog<QmpEvent>();
    const session = await QmpSession.open(readable, writable, {
      onEvent: (event) => events.push(event),
      onEnd: (reason) => events.end(reason),
    });
    return new QmpClient(session, events);
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
    return this.#session.version;
  }

  /**
   * Runs a command and waits for its answer.
   *
   * @param command Its name, such as "query-migrate".
   * @param args Its arguments.
   * @returns What QEMU returned.
   * @throws {QmpError} When QEMU refuses it or the session ends first.
   */
  execute<T = unknown>(command: string, args?: Record<string, unknown>): Promise<T> {
    return this.#session.execute<T>(command, args);
  }

  /** The same out of band, past a main loop that waits for guest memory; for few commands. */
  executeOutOfBand<T = unknown>(command: string, args?: Record<string, unknown>): Promise<T> {
    return this.#session.executeOutOfBand<T>(command, args);
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
  close(): Promise<void> {
    return this.#session.close();
  }

  /** Ends the session. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
