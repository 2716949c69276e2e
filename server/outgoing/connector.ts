/** How a link comes by its connections: it makes them, or a caller has. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { type ConnectOptions, Socket } from "../../ffi/socket.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import type { TlsSessionInit } from "../../ffi/tls/session.ts";
import { PING } from "../sending/control_stream.ts";
import { type Answers, untilAborted } from "./answers.ts";
import type { Caller } from "./caller.ts";
import { LinkEncryption } from "./encryption.ts";
import type { LinkInit } from "./link_init.ts";

/** Bytes that the main channel may hold unsent beside a preempt channel: 1 ms at 1 Gbit/s. */
const UNSENT_LIMIT = 128 * 1024;
/** Milliseconds in which what was sent arrives at any host that there is. */
const ARRIVAL_PATIENCE = 1_000;

/** The link that the connections are for. */
export interface ConnectorLink {
  readonly answers: Answers;
  readonly signal: AbortSignal;
  /** Bytes that were sent on the main channel and not acknowledged. */
  unacknowledged(): number;
}

/** Connects both channels of one link, and owns what belongs to them but for the preempt channel's socket. */
export class Connector implements Disposable {
  readonly #init: LinkInit;
  readonly #link: ConnectorLink;
  readonly #stack = new DisposableStack();
  readonly #caller: Caller | undefined;
  #encryption: LinkEncryption | undefined;
  /** Where the main channel was connected to: by the host's name the preempt channel might go elsewhere. */
  #address: SocketAddress | undefined;

  /** @param init whose caller, if there is one, is this connector's once it is connected */
  constructor(init: LinkInit, link: ConnectorLink) {
    this.#init = init;
    this.#link = link;
    this.#caller = init.caller;
  }

  /** Where the preempt channel is to be connected to; undefined: where the main channel was to. */
  get address(): SocketAddress | undefined {
    return this.#address;
  }

  /** Whether the destination can refuse this end without a word before something is read. */
  get silent(): boolean {
    return this.#encryption !== undefined;
  }

  /** The preempt channel's session, for tasks, but for its socket; undefined in clear. */
  get preempt(): TlsSessionInit | undefined {
    return (this.#encryption ?? this.#caller)?.preempt;
  }

  /** Settles when no connection is on its way. */
  get settled(): Promise<unknown> {
    return this.#encryption?.settled ?? Promise.resolve();
  }

  /** Says that nothing was cut off, where there is a word for it. Nobody else may send any more. */
  end(): void {
    (this.#encryption ?? this.#caller)?.end();
  }

  /**
   * Connects the main channel.
   *
   * @throws {SyscallError} when it cannot be reached
   * @throws {MigrationError} `TLS_FAILED` when one end does not accept the other
   */
  async connectMain(to: SocketAddress): Promise<ConnectionInit> {
    const { mode, encryption } = this.#init;
    if (this.#caller !== undefined) {
      const { connection, socket } = this.#stack.use(this.#caller).main;
      if (mode !== "vanilla") socket.setUnsentLimit(UNSENT_LIMIT);
      return connection;
    }
    const connect = async (): Promise<Socket> => {
      const main = this.#stack.use(await Socket.connect(to, this.#wait()));
      this.#address = main.address;
      if (mode !== "vanilla") main.setUnsentLimit(UNSENT_LIMIT);
      return main;
    };
    if (encryption === undefined) return { fd: (await connect()).fd };
    this.#encryption = this.#stack.use(new LinkEncryption(encryption, to));
    return await this.#encryption.connectMain(connect, this.#wait());
  }

  /** Connects the preempt channel. */
  async connectPreempt(to: SocketAddress): Promise<Socket> {
    if (this.#caller !== undefined) return this.#caller.takePreempt();
    const connect = () => Socket.connect(to, this.#wait());
    if (this.#encryption === undefined) return await connect();
    if (!this.#link.answers.has(PING.RETURN_PATH)) await this.mainArrived();
    return await this.#encryption.connectPreempt(connect, this.#wait());
  }

  /** Connects a multifd channel, once the main channel is there. */
  async connectMultifd(to: SocketAddress): Promise<ConnectionInit> {
    const connect = async () =>
      this.#stack.use(await Socket.connect(this.#address ?? to, this.#wait()));
    if (this.#encryption === undefined) return { fd: (await connect()).fd };
    return await this.#encryption.connectMultifd(connect, this.#wait());
  }

  /**
   * Through TLS, waits until the destination's host has all that was sent. A QEMU takes for the main channel the one whose
   * handshake it has done first, and that of this end is done before the last of it has arrived there.
   */
  async mainArrived(): Promise<void> {
    if (this.#encryption === undefined) return;
    const end = performance.now() + ARRIVAL_PATIENCE;
    while (this.#link.unacknowledged() > 0 && performance.now() < end) {
      await untilAborted(new Promise((resolve) => setTimeout(resolve, 1)), this.#link.signal);
    }
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }

  #wait(): ConnectOptions {
    const { stallTimeout } = this.#init;
    return { signal: this.#link.signal, timeout: stallTimeout, stallTimeout };
  }
}
