/** How a source encrypts its connections: its credentials, and the sessions of each of its links. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { openConnection } from "../../channel/open_connection.ts";
import { loadCredentials } from "../../channel/tls/credentials.ts";
import { shakeHands, type Shaken } from "../../channel/tls/shake_hands.ts";
import { requireCopying } from "../../ffi/gather.ts";
import type { Socket } from "../../ffi/socket.ts";
import { formatSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import type { TlsContext } from "../../ffi/tls/context.ts";
import { type TlsHandshakeInit, TlsSession, type TlsSessionInit } from "../../ffi/tls/session.ts";
import { kernelText } from "../../ffi/tls/kernel_tls.ts";
import { TlsError } from "../../ffi/tls/tls_error.ts";
import type { WaitOptions } from "../../ffi/wait_ready.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { preemptChannel } from "../sending/sender_init.ts";
import type { OutgoingOptions, SourceTlsOptions } from "./outgoing_options.ts";

/** What the encryption of one migration needs beside its options. */
export interface EncryptionInit {
  /** Where the destination listens. */
  readonly to: SocketAddress;
  /** Whose threads shake hands. */
  readonly pool: ThreadPool;
  /** Tells the user what there is to know. */
  readonly note: (text: string) => void;
}

/** What one migration encrypts with: the same credentials on each of its connections. */
export class Encryption implements Disposable {
  readonly #context: TlsContext;
  readonly #hostname: string | undefined;
  readonly #init: EncryptionInit;
  #told = "";

  /**
   * Reads the credentials, once.
   *
   * @throws {TlsError} when they cannot be used, or nothing says by which name the destination is to be known
   * @throws {SyscallError} when pages cannot be copied here to be encrypted
   */
  constructor(options: SourceTlsOptions, init: EncryptionInit) {
    requireCopying();
    const { credentials, hostname, username, verifyPeer } = options;
    this.#hostname = hostname;
    this.#init = init;
    this.#context = loadCredentials(credentials, "client", {
      ...username === undefined ? {} : { username },
      ...verifyPeer === undefined ? {} : { verifyPeer },
    }, init.note);
    try {
      if (hostname !== undefined) this.#checkNamed(hostname);
      this.session(init.to, -1).close(); // throws for a name that cannot be, before anybody is connected to
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Whose threads shake hands. */
  get pool(): ThreadPool {
    return this.#init.pool;
  }

  /** Makes a session of a connection to a destination. */
  session(to: SocketAddress, fd: number): TlsSession {
    return new TlsSession(this.#context, fd, formatSocketAddress(to), this.#nameOf(to));
  }

  /** Tells how and by whom a connection is encrypted, and with whom it is, where that is news. */
  tell(to: SocketAddress, { cipher, kernel, subject }: Shaken): void {
    const text = `Encrypted (${cipher}): ${kernelText(kernel)}; ${this.#whom(to, subject)}`;
    if (text === this.#told) return;
    this.#told = text;
    this.#init.note(text);
  }

  /** Forgets the credentials. Closing again does nothing. */
  close(): void {
    this.#context.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Nobody is to think that a name is looked at which is not. */
  #checkNamed(hostname: string): void {
    const { policy } = this.#context;
    if (policy.kind === "x509" && policy.verifyPeer) return;
    throw new TlsError(
      "BAD_CREDENTIALS",
      `A name is looked for in a certificate, and none is looked at here (${
        policy.kind === "psk" ? "there are pre-shared keys" : "the other end is not checked"
      }): ${hostname}: leave --tls-hostname out`,
    );
  }

  #whom(to: SocketAddress, subject: string | undefined): string {
    const { policy } = this.#context;
    if (policy.kind === "psk") {
      return `the destination has the pre-shared key of ${policy.keys[0]!.identity}`;
    }
    if (!policy.verifyPeer) return "who the destination is was not checked";
    return `the destination is ${this.#nameOf(to)}, by the certificate of ${subject}`;
  }

  /** The name that the destination's certificate must have: by which it is connected to, unless it is said. */
  #nameOf(to: SocketAddress): string | undefined {
    return this.#hostname ?? (to.transport === "tcp" ? to.host : undefined);
  }
}

/**
 * Sees that credentials can be used, for who does something before that takes long. What they warn of is told
 * when they are read for good.
 *
 * @throws {TlsError} as {@linkcode Encryption} does
 */
export function checkCredentials({ tls, to }: Pick<OutgoingOptions, "tls" | "to">): void {
  if (tls !== undefined) {
    new Encryption(tls, { to, pool: ThreadPool.shared, note: () => {} }).close();
  }
}

/**
 * The sessions of one link. That of the preempt channel is made before it is connected: the tasks that send
 * there are told of its socket by a word of shared memory.
 */
export class LinkEncryption implements Disposable {
  readonly #encryption: Encryption;
  readonly #to: SocketAddress;
  readonly #stack = new DisposableStack();
  readonly #preempt: TlsSession;
  #main: TlsSession | undefined;
  readonly #multifd: TlsSessionInit[] = [];
  #preemptFd = -1;
  #shaking: Promise<unknown> = Promise.resolve();

  /**
   * @param encryption the migration's
   * @param to where the destination listens, by the name that it is known by
   * @throws {MigrationError} `TLS_FAILED` when there is none
   */
  constructor(encryption: Encryption, to: SocketAddress) {
    this.#encryption = encryption;
    this.#to = to;
    try {
      this.#preempt = this.#stack.use(encryption.session(to, -1));
    } catch (error) {
      throw asFailure(error);
    }
  }

  /**
   * Connects the main channel and shakes hands at once.
   *
   * @param connect makes the connection, whose socket stays the caller's
   * @throws {MigrationError} `TLS_FAILED` when one end does not accept the other
   */
  async connectMain(connect: () => Promise<Socket>, wait: WaitOptions): Promise<ConnectionInit> {
    const shaken = await this.#shake(wait, async () => {
      const { fd } = await connect();
      this.#main = this.#stack.use(this.#encryption.session(this.#to, fd));
      return this.#main.handshake;
    });
    this.#encryption.tell(this.#to, shaken);
    return connectionOn(this.#main!);
  }

  /** The preempt channel's session, for tasks, but for its socket. */
  get preempt(): TlsSessionInit {
    return this.#preempt.init;
  }

  /** Connects the preempt channel and shakes hands at once. */
  async connectPreempt(connect: () => Promise<Socket>, wait: WaitOptions): Promise<Socket> {
    let socket: Socket | undefined;
    try {
      await this.#shake(wait, async () => {
        socket = await connect();
        return this.#preempt.attach(socket.fd);
      });
    } catch (error) {
      socket?.close();
      throw error;
    }
    this.#preemptFd = socket!.fd;
    return socket!;
  }

  /** Connects a multifd channel and shakes hands at once; its socket stays the caller's. */
  async connectMultifd(connect: () => Promise<Socket>, wait: WaitOptions): Promise<ConnectionInit> {
    const session = this.#stack.use(this.#encryption.session(this.#to, -1));
    let handshake!: TlsHandshakeInit;
    await this.#shake(wait, async () => handshake = session.attach((await connect()).fd));
    const init = { ...session.init, fd: handshake.fd };
    this.#multifd.push(init);
    return { fd: init.fd, tls: init };
  }

  /** Settles when no handshake is under way. */
  get settled(): Promise<unknown> {
    return this.#shaking;
  }

  /** Says the closing words: nothing was cut off. Nobody else may send any more. */
  end(): void {
    for (const tls of this.#multifd) openConnection({ fd: tls.fd, tls }).endSending();
    if (this.#main !== undefined) openConnection(connectionOn(this.#main)).endSending();
    if (this.#preemptFd < 0) return;
    openConnection(preemptChannel(this, this.#preemptFd)).endSending();
  }

  /** Frees the sessions: nobody uses them any more. */
  close(): void {
    this.#stack.dispose();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #shake(wait: WaitOptions, connect: () => Promise<TlsHandshakeInit>): Promise<Shaken> {
    const shaking = shakeHands(this.#encryption.pool, connect, wait);
    this.#shaking = Promise.allSettled([this.#shaking, shaking]);
    try {
      return await shaking;
    } catch (error) {
      throw asFailure(error);
    }
  }
}

function connectionOn({ init }: TlsSession): ConnectionInit {
  return { fd: init.fd, tls: init };
}

/** What a migration fails with. */
function asFailure(error: unknown): unknown {
  if (!(error instanceof TlsError)) return error;
  return new MigrationError("TLS_FAILED", error.message, { cause: error });
}
