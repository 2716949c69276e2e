/** A destination that has called: both of its connections are there before the stream begins. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { openConnection } from "../../channel/open_connection.ts";
import type { Socket } from "../../ffi/socket.ts";
import type { TlsSessionInit } from "../../ffi/tls/session.ts";

/** A connection that was accepted, and is whoever's who has this. */
export interface CallerConnection extends Disposable {
  readonly socket: Socket;
  readonly connection: ConnectionInit;
}

/** The connections of one link that a destination has made; closed with it. */
export class Caller implements Disposable {
  readonly #main: CallerConnection;
  readonly #preempt: CallerConnection;
  #preemptTaken = false;

  /** Takes ownership of both. */
  constructor(main: CallerConnection, preempt: CallerConnection) {
    this.#main = main;
    this.#preempt = preempt;
  }

  /** The main channel. */
  get main(): CallerConnection {
    return this.#main;
  }

  /** The preempt channel's session; undefined in clear. */
  get preempt(): TlsSessionInit | undefined {
    return this.#preempt.connection.tls;
  }

  /**
   * The preempt channel's socket, once.
   *
   * @throws {Error} the second time: its end ended the first
   */
  takePreempt(): Socket {
    if (this.#preemptTaken) throw new Error("A caller has one preempt channel");
    this.#preemptTaken = true;
    return this.#preempt.socket;
  }

  /** Says TLS's closing words: nothing was cut off. */
  end(): void {
    for (const { connection } of [this.#main, this.#preempt]) {
      if (connection.tls !== undefined) openConnection(connection).endSending();
    }
  }

  /** Frees both. Closing again does nothing. */
  [Symbol.dispose](): void {
    this.#main[Symbol.dispose]();
    this.#preempt[Symbol.dispose]();
  }
}
