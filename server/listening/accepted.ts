/** A connection that was accepted, until it is known what it is for. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { openConnection } from "../../channel/open_connection.ts";
import { shakeHands } from "../../channel/tls/shake_hands.ts";
import { receiveWhole } from "../../channel/whole_message.ts";
import { Errno } from "../../ffi/errno.ts";
import { peerHost } from "../../ffi/peer_host.ts";
import type { Socket } from "../../ffi/socket.ts";
import type { TlsContext } from "../../ffi/tls/context.ts";
import { TlsSession } from "../../ffi/tls/session.ts";
import {
  decodePageCall,
  encodePageCallAnswer,
  MAX_CALL_BYTES,
  type PageCall,
  type PageCallAnswer,
  pageCallLength,
} from "../../migration/protocol/page_call.ts";
import type { ThreadPool } from "../../migration/threads/thread_pool.ts";
import type { CallerConnection } from "../outgoing/caller.ts";

/** Owns the connection. */
export class Accepted implements CallerConnection {
  readonly socket: Socket;
  /** Its host; empty where it has none. */
  readonly host: string;
  readonly #closing = new AbortController();
  #session: TlsSession | undefined;

  /** Takes ownership. */
  constructor(socket: Socket) {
    this.socket = socket;
    this.host = peerHost(socket.fd);
  }

  /** Who it is, for messages. */
  get name(): string {
    return this.host === "" ? "a local client" : this.host;
  }

  get connection(): ConnectionInit {
    const { fd } = this.socket;
    return this.#session === undefined ? { fd } : { fd, tls: this.#session.init };
  }

  /** Aborted when it is to go. */
  get dropped(): AbortSignal {
    return this.#closing.signal;
  }

  /** Ends whatever it waits for; who waits closes it then. */
  drop(): void {
    this.#closing.abort(new Error(`Connection was closed here: ${this.name}`));
  }

  /**
   * Hears what the connection is for.
   *
   * @param context of TLS; undefined in clear
   * @param signal ends the wait, which has no limit of its own
   * @throws {TlsError} when the client is not who it should be
   * @throws {ProtocolError} when it says what is no call
   * @throws {MigrationError} when the connection ends first; the signal's reason
   */
  async hear(
    context: TlsContext | undefined,
    pool: ThreadPool,
    signal: AbortSignal,
  ): Promise<PageCall> {
    if (context !== undefined) {
      const session = this.#session = new TlsSession(context, this.socket.fd, this.name);
      await shakeHands(pool, () => session.handshake, { signal });
    }
    const room = new Uint8Array(MAX_CALL_BYTES);
    const connection = openConnection(this.connection);
    return decodePageCall(
      await receiveWhole(connection, room, pageCallLength, this.name, { signal }),
    );
  }

  /** Answers; who has no room for so little reads nothing, and is not waited for. */
  answer(answer: PageCallAnswer): boolean {
    const bytes = encodePageCallAnswer(answer);
    const connection = openConnection(this.connection);
    let count: number;
    do count = connection.sendFrom(bytes, bytes.length); while (count === -Errno.EINTR);
    return count === bytes.length;
  }

  /** Answers that it is not served, and ends this direction: the text is to arrive. */
  refuse(reason: string): void {
    if (this.answer({ kind: "refused", reason })) openConnection(this.connection).endSending();
  }

  /** Frees it. No thread may use it any more. Closing again does nothing. */
  [Symbol.dispose](): void {
    this.#session?.close();
    this.socket.close();
  }
}
