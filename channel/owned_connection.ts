/** Connections as their owner holds them: he alone ends what others use by its plain data. */

import { closeSocket } from "../ffi/socket_calls.ts";
import { Socket } from "../ffi/socket.ts";
import { freeSession } from "../ffi/tls/session.ts";
import type { ConnectionInit } from "./connection.ts";

/** Frees a connection by its plain data. No thread may use it any more. */
export function closeConnection({ fd, tls }: ConnectionInit): void {
  if (tls !== undefined) freeSession(tls.address);
  closeSocket(fd);
}

/** A connected socket, and the TLS session on it, if there is one. */
export class OwnedConnection implements Disposable {
  /** For the threads that use it. */
  readonly init: ConnectionInit;
  readonly #socket: Socket;
  #open = true;

  /**
   * Takes ownership.
   *
   * @param init the connection; what came already is in its head
   * @param peer the other end, for messages
   * @param stallTimeout milliseconds without a sign of life after which the peer counts as gone
   */
  constructor(init: ConnectionInit, peer: string, stallTimeout: number) {
    this.init = init;
    this.#socket = new Socket(init.fd, peer, stallTimeout);
  }

  /** Ends both directions at once, for every thread that uses it. It stays open. */
  shutdown(): void {
    this.#socket.shutdown();
  }

  /** Frees it. No thread may use it any more. Closing again does nothing. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    if (this.init.tls !== undefined) freeSession(this.init.tls.address);
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
