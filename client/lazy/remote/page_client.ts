/** Calling a server for an image: both connections, and what is said before the stream. */

import type { ConnectionInit } from "../../../channel/connection.ts";
import { openConnection } from "../../../channel/open_connection.ts";
import { loadCredentials } from "../../../channel/tls/credentials.ts";
import { shakeHands } from "../../../channel/tls/shake_hands.ts";
import { receiveWhole } from "../../../channel/whole_message.ts";
import { Socket } from "../../../ffi/socket.ts";
import { formatSocketAddress, type SocketAddress } from "../../../ffi/socket_address.ts";
import type { TlsContext } from "../../../ffi/tls/context.ts";
import { TlsSession } from "../../../ffi/tls/session.ts";
import { MigrationError } from "../../../migration/migration_error.ts";
import {
  decodePageCallAnswer,
  encodePageCall,
  MAX_CALL_ANSWER_BYTES,
  type PageCall,
  type PageCallAnswer,
  pageCallAnswerLength,
} from "../../../migration/protocol/page_call.ts";
import { ProtocolError } from "../../../migration/protocol/protocol_error.ts";
import type { ThreadPool } from "../../../migration/threads/thread_pool.ts";
import { SendingEnd } from "../../../channel/sending_end.ts";
import { FROM_SOURCE } from "../../../channel/role.ts";
import type { PageAddress } from "./page_address.ts";

/** TLS of a client of a server. */
export interface PageClientTlsOptions {
  /**
   * A directory with `ca-cert.pem`, and `client-cert.pem` with `client-key.pem` where the server asks for a
   * certificate; or with `keys.psk`, or a file of pre-shared keys. Read once.
   */
  readonly credentials: string;
  /** The name that the server's certificate must have; default the host of its address. */
  readonly hostname?: string;
  /** The identity of the pre-shared key; default `"qemu"`. Not with certificates. */
  readonly username?: string;
  /** Whether the server's certificate is checked; default true. */
  readonly verifyPeer?: boolean;
}

/** How a server is called. */
export interface PageClientOptions {
  readonly from: PageAddress;
  readonly tls?: PageClientTlsOptions | undefined;
  /** Milliseconds after which a server that gives no sign of life counts as gone. */
  readonly stallTimeout: number;
  readonly pool: ThreadPool;
  readonly note: (text: string) => void;
}

/** Both connections; closed by whoever has them. */
export interface PageConnections extends Disposable {
  readonly main: ConnectionInit;
  readonly preempt: ConnectionInit;
  /** Tells the image from every other. */
  readonly identity: Uint8Array;
}

type Welcome = Extract<PageCallAnswer, { kind: "welcome" }>;

/** Calls one server, as often as need be, with the same credentials. */
export class PageClient implements Disposable {
  readonly #options: PageClientOptions;
  readonly #context: TlsContext | undefined;

  /**
   * Reads the credentials; nothing is connected.
   *
   * @throws {TlsError} for credentials that cannot be used
   */
  constructor(options: PageClientOptions) {
    this.#options = options;
    const { tls, note } = options;
    if (tls === undefined) return;
    const { credentials, username, verifyPeer } = tls;
    this.#context = loadCredentials(credentials, "client", {
      ...username === undefined ? {} : { username },
      ...verifyPeer === undefined ? {} : { verifyPeer },
    }, note);
  }

  /**
   * Connects, and asks for the image.
   *
   * @param identity of the image that was begun with; without, it is begun
   * @throws {SyscallError} when the server cannot be reached
   * @throws {MigrationError} `PEER_FAILED` with what it says when it refuses, `BAD_PEER` when it is no page
   * server, `CONNECTION_LOST`
   * @throws {TlsError} when one end does not accept the other
   * @throws {DOMException} `TimeoutError`; the signal's reason
   */
  async connect(identity: Uint8Array | undefined, signal: AbortSignal): Promise<PageConnections> {
    const { server, name } = this.#options.from;
    using stack = new DisposableStack();
    const call: PageCall = identity === undefined
      ? { kind: "begin", name }
      : { kind: "go-on", name, identity };
    const main = await this.#call(server, call, stack, signal);
    const { ticket } = main.welcome;
    // By the host's name the second might go elsewhere.
    const preempt = await this.#call(
      main.address ?? server,
      { kind: "preempt", ticket },
      stack,
      signal,
    );
    const owned = stack.move();
    return {
      main: main.connection,
      preempt: preempt.connection,
      identity: main.welcome.identity,
      [Symbol.dispose]: () => owned.dispose(),
    };
  }

  /** Forgets the credentials. Closing again does nothing. */
  [Symbol.dispose](): void {
    this.#context?.close();
  }

  async #call(
    to: SocketAddress,
    call: PageCall,
    stack: DisposableStack,
    signal: AbortSignal,
  ): Promise<{ connection: ConnectionInit; welcome: Welcome; address: SocketAddress | undefined }> {
    const { stallTimeout, pool } = this.#options;
    const wait = { signal, timeout: stallTimeout, stallTimeout };
    const socket = stack.use(await Socket.connect(to, wait));
    const { fd, address } = socket;
    let connection: ConnectionInit = { fd };
    if (this.#context !== undefined) {
      const session = stack.use(this.#session(this.#context, fd));
      await shakeHands(pool, () => session.handshake, wait);
      connection = { fd, tls: session.init };
    }
    await new SendingEnd(connection, FROM_SOURCE.RETURN_PATH).sendAll(encodePageCall(call), wait);
    const answer = await this.#answer(connection, wait);
    if (answer.kind === "welcome") return { connection, welcome: answer, address };
    throw new MigrationError("PEER_FAILED", `Server refuses: ${answer.reason}`);
  }

  #session(context: TlsContext, fd: number): TlsSession {
    const { from: { server }, tls } = this.#options;
    const host = server.transport === "tcp" ? server.host : undefined;
    return new TlsSession(context, fd, formatSocketAddress(server), tls?.hostname ?? host);
  }

  async #answer(
    connection: ConnectionInit,
    wait: { signal: AbortSignal; timeout: number },
  ): Promise<PageCallAnswer> {
    const room = new Uint8Array(MAX_CALL_ANSWER_BYTES);
    const peer = `the page server ${formatSocketAddress(this.#options.from.server)}`;
    const from = openConnection(connection);
    try {
      return decodePageCallAnswer(
        await receiveWhole(from, room, pageCallAnswerLength, peer, wait),
      );
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      const text = `Not a page server, or another version of it: ${peer}: ${error.message}`;
      throw new MigrationError("BAD_PEER", text, { cause: error });
    }
  }
}
