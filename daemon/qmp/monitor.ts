/** A QEMU's monitor, spoken to by QMP, over as many connections as it takes. */

import { formatSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import { type QemuVersion, QmpError, type QmpEvent } from "../../migration/qmp/qmp_message.ts";
import { QmpSession } from "../../migration/qmp/qmp_session.ts";
import { MonitorError } from "./monitor_error.ts";

/** How a monitor is reached. */
export interface MonitorOptions {
  /** Where its QMP socket is. */
  readonly address: SocketAddress;
  /** Milliseconds after which a QEMU that does not answer counts as silent. */
  readonly timeout: number;
  /** Called with each event. */
  readonly onEvent?: (event: QmpEvent) => void;
  /** Called when the connection is over. */
  readonly onEnd?: () => void;
  /** Ends what is waited for. */
  readonly signal?: AbortSignal;
}

/**
 * Commands to one QEMU. In band one goes at a time: QEMU stops to read, and so to hear commands out of band,
 * when too many wait for a main loop that itself waits for memory.
 */
export class Monitor implements AsyncDisposable {
  readonly #options: MonitorOptions;
  #session: QmpSession;
  #version: QemuVersion;
  #signal: AbortSignal | undefined;
  #inBand: Promise<unknown> = Promise.resolve();

  private constructor(options: MonitorOptions, session: QmpSession, version: QemuVersion) {
    this.#options = options;
    this.#session = session;
    this.#version = version;
    this.#signal = options.signal;
  }

  /**
   * Connects.
   *
   * @throws {MonitorError} `UNREACHABLE`, `SILENT`, `NOT_QMP`
   * @throws the signal's reason when it is aborted
   */
  static async connect(options: MonitorOptions): Promise<Monitor> {
    const session = await connectSession(options);
    return new Monitor(options, session, await session.version);
  }

  /** QEMU's version. */
  get version(): QemuVersion {
    return this.#version;
  }

  /** Whether the connection is over: QEMU ended, or it broke. */
  get ended(): boolean {
    return this.#session.ended !== undefined;
  }

  /** Its address, for messages. */
  get name(): string {
    return formatSocketAddress(this.#options.address);
  }

  /** From here on what is begun is waited for, whatever becomes of the signal: it may have to be undone. */
  holdOut(): void {
    this.#signal = undefined;
  }

  /** Tells whether QEMU's version is this one or later. */
  atLeast(major: number, minor: number): boolean {
    const { version } = this;
    return version.major > major || (version.major === major && version.minor >= minor);
  }

  /**
   * Runs a command.
   *
   * @throws {MonitorError} `REFUSED` with QEMU's words, `SILENT`, `UNREACHABLE`
   * @throws the signal's reason when it is aborted
   */
  async execute<T = unknown>(command: string, args?: Record<string, unknown>): Promise<T> {
    const before = this.#inBand;
    const session = this.#session;
    let wanted = true;
    const answer = before.then(() => {
      if (!wanted) throw new Silence(); // what nobody waits for any more must not be done later
      return session.execute<T>(command, args);
    });
    this.#inBand = answer.catch(() => {});
    try {
      return await this.#within(command, answer);
    } finally {
      wanted = false;
    }
  }

  /** The same past a main loop that waits for guest memory; for `migrate-recover` and `migrate-pause`. */
  async executeOutOfBand<T = unknown>(
    command: string,
    args?: Record<string, unknown>,
  ): Promise<T> {
    return await this.#within(command, this.#session.executeOutOfBand<T>(command, args));
  }

  /**
   * Connects again when the connection is over; does nothing while it stands.
   *
   * @throws {MonitorError} as {@linkcode Monitor.connect} does
   */
  async reconnect(): Promise<void> {
    if (!this.ended) return;
    const { signal: _, ...options } = this.#options;
    const session = await connectSession(options);
    this.#version = await session.version;
    this.#session = session;
    this.#inBand = Promise.resolve();
  }

  /** Ends the connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#session.close();
  }

  async #within<T>(command: string, answer: Promise<T>): Promise<T> {
    try {
      return await within(answer, this.#options.timeout, this.#signal);
    } catch (error) {
      if (error instanceof QmpError) {
        if (error.code !== "Closed" && error.code !== "NotQmp") {
          throw new MonitorError("REFUSED", `QEMU refuses ${command}: ${error.message}`, {
            cause: error,
          });
        }
        throw unreachable(this.#options, error);
      }
      if (!(error instanceof Silence)) throw error;
      throw new MonitorError(
        "SILENT",
        `QEMU does not answer ${command} within ${
          this.#options.timeout / 1000
        } s at ${this.name}: ` +
          "its main loop hangs, or it is stopped: see what it does",
      );
    }
  }
}

/** Nothing came in time. */
class Silence extends Error {}

/** Settles as the promise does, unless that takes too long or is no longer wanted. */
async function within<T>(
  promise: Promise<T>,
  timeout: number,
  signal: AbortSignal | undefined,
): Promise<T> {
  signal?.throwIfAborted();
  promise.catch(() => {}); // it may fail when nobody waits any more
  const { promise: over, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal!.reason);
  signal?.addEventListener("abort", onAbort);
  const timer = setTimeout(() => reject(new Silence()), timeout);
  try {
    return await Promise.race([promise, over]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

async function connectSession(options: MonitorOptions): Promise<QmpSession> {
  const { address, onEvent = () => {}, onEnd = () => {} } = options;
  const name = formatSocketAddress(address);
  let connection: Deno.Conn | undefined;
  let given = true;
  const connect = async (): Promise<QmpSession> => {
    connection = address.transport === "unix"
      ? await Deno.connect({ transport: "unix", path: address.path })
      : await Deno.connect({ hostname: address.host, port: address.port });
    const cut = () => close(connection);
    if (!given) cut(); // nobody waits for it any more
    return await QmpSession.open(connection.readable, connection.writable, {
      onEvent,
      onEnd,
      cut,
    });
  };
  try {
    return await within(connect(), options.timeout, options.signal);
  } catch (error) {
    given = false;
    close(connection);
    if (error instanceof Silence) throw silent(name, options.timeout);
    if (error instanceof QmpError && error.code === "NotQmp") {
      throw new MonitorError(
        "NOT_QMP",
        `What answers at ${name} is no QMP monitor of a QEMU (${error.message}): name the socket of ` +
          "-qmp unix:PATH,server=on,wait=off; that of -monitor is for people",
      );
    }
    if (error instanceof QmpError || isOfConnection(error)) throw unreachable(options, error);
    throw error;
  }
}

/** Whether it is the kernel that says so. */
function isOfConnection(error: unknown): boolean {
  return error instanceof Error && "code" in error && typeof error.code === "string" &&
    /^E[A-Z]+$/.test(error.code);
}

function close(connection: Deno.Conn | undefined): void {
  try {
    connection?.close();
  } catch {
    // It is closed.
  }
}

function silent(name: string, timeout: number): MonitorError {
  return new MonitorError(
    "SILENT",
    `Nothing answers at ${name} within ${
      timeout / 1000
    } s: QEMU speaks with one program at a time on a ` +
      "monitor: end the other one, or start QEMU with one more: -qmp unix:PATH,server=on,wait=off; with a new " +
      "one it does not speak while it waits for memory that its guest lacks",
  );
}

function unreachable({ address }: MonitorOptions, cause: unknown): MonitorError {
  const { message } = cause as Error;
  return new MonitorError(
    "UNREACHABLE",
    `QEMU's monitor cannot be reached at ${
      formatSocketAddress(address)
    }: ${message}: see that QEMU runs, ` +
      "and was started with -qmp and this address (-qmp unix:PATH,server=on,wait=off)",
    { cause },
  );
}
