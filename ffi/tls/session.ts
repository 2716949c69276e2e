/** A TLS session over a socket, as its owner holds it. */

import { cString } from "../libc.ts";
import { layOnSocket } from "./kernel_tls.ts";
import { viewMemory } from "../memory.ts";
import type { TlsContextInit, TlsPolicy, TlsRole } from "./context.ts";
import { openSsl } from "./libssl.ts";
import { LOCK_WORDS } from "./session_lock.ts";
import { TlsError } from "./tls_error.ts";

/**
 * A session in plain data, for the threads that use it. All that they know in common hangs on the library's
 * object: a thread that can be told but two numbers gets the address and the socket.
 */
export interface TlsSessionInit {
  /** The library's object, owned elsewhere and there for as long as any thread uses it. */
  readonly address: number;
  /** The socket: non-blocking, owned elsewhere. */
  readonly fd: number;
  /** Client or server. */
  readonly role: TlsRole;
  /** The other end, for messages. */
  readonly peer: string;
}

/** A session of which the handshake is still to be done, with what that needs. */
export interface TlsHandshakeInit extends TlsSessionInit {
  /** What is asked of the other end. */
  readonly policy: TlsPolicy;
  /** The name that its certificate must have; absent: none is asked for. */
  readonly hostname?: string;
}

/** Words of the memory that a session's threads share, behind those of its lock. */
export const SessionWord = {
  /** 1 once anything came from the other end that it says only to a peer that it accepts. */
  HEARD: LOCK_WORDS,
  /** How far the closing word is: 0 unsaid, 1 on its way, 2 said. */
  CLOSING: LOCK_WORDS + 1,
  /** Bytes of the record that waits for room; 0: none does. */
  WAITING: LOCK_WORDS + 2,
  /** 1 once a reader found that the session is no more: by what came, an alert, or the end without a word. */
  BROKEN: LOCK_WORDS + 3,
  /** Who encrypts what is sent: one of `KernelTls`. */
  KERNEL: LOCK_WORDS + 4,
} as const;
/** Words in front of the record that waits for room. */
const WORDS_BYTES = 64;

/** Bytes that a TLS record holds at most. */
export const RECORD_BYTES = 16_384;

const SHARED_BYTES = WORDS_BYTES + RECORD_BYTES;
/** Where a session keeps what belongs to its user: SSL_get_app_data of openssl/ssl.h. */
const APP_DATA = 0;

/** What the threads of a session share: native memory, which is there for as long as the session. */
export function sharedParts(
  { address }: TlsSessionInit,
): { readonly words: Int32Array<ArrayBuffer>; readonly record: Uint8Array<ArrayBuffer> } {
  const memory = viewMemory(sharedMemory(BigInt(address)), SHARED_BYTES);
  return {
    words: new Int32Array(memory.buffer, memory.byteOffset, WORDS_BYTES / 4),
    record: memory.subarray(WORDS_BYTES),
  };
}

function sharedMemory(session: bigint): number {
  return Number(openSsl().SSL_get_ex_data(session, APP_DATA));
}

/** Frees a session by its address. No thread may use it any more; the socket stays open. */
export function freeSession(address: number): void {
  const library = openSsl();
  const session = BigInt(address);
  const shared = BigInt(sharedMemory(session));
  library.SSL_free(session);
  library.CRYPTO_free(shared, 0n, 0);
}

/** An address and not a name: its certificate names it as such. */
const ADDRESS = /^\d+\.\d+\.\d+\.\d+$|:/;
/** X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS of openssl/x509v3.h: `f*.example` is no name of anybody's. */
const NO_PARTIAL_WILDCARDS = 4;

/**
 * A TLS session on a connected socket. It is made before any byte has been exchanged; what was decrypted
 * and not read yet is in it, so that nobody else may read the socket. Threads use it through a
 * `TlsStream` each, after one of them has done the handshake.
 */
export class TlsSession implements Disposable {
  /** For the thread that does the handshake. */
  readonly handshake: TlsHandshakeInit;
  #address: bigint;

  /**
   * Makes the session; nothing is sent yet.
   *
   * @param fd a connected, non-blocking stream socket, owned elsewhere; -1: see {@linkcode TlsSession.attach}
   * @param peer the other end, for messages
   * @param hostname whom a client means to reach: a host name, or an address without brackets
   * @throws {TlsError} `WRONG_NAME` for a client that checks certificates and has no name to look for
   */
  constructor(context: TlsContextInit, fd: number, peer: string, hostname?: string) {
    const library = openSsl();
    const { role, policy } = context;
    const wantsName = role === "client" && policy.kind === "x509" && policy.verifyPeer;
    if (wantsName && (hostname === undefined || hostname === "")) {
      throw new TlsError(
        "WRONG_NAME",
        `No host name by which to check the certificate of ${peer}: say which it should have ` +
          "with --tls-hostname",
      );
    }
    const address = this.#address = library.SSL_new(context.address);
    if (role === "client") library.SSL_set_connect_state(address);
    else library.SSL_set_accept_state(address);
    const shared = library.CRYPTO_zalloc(BigInt(SHARED_BYTES), 0n, 0);
    library.SSL_set_ex_data(address, APP_DATA, shared);
    const init = { address: Number(address), fd, role, peer, policy };
    this.handshake = wantsName ? { ...init, hostname: hostname! } : init;
    this.#lay(this.handshake);
    if (wantsName) this.#expect(hostname!);
  }

  /** For the threads that use it after the handshake. */
  get init(): TlsSessionInit {
    const { address, fd, role, peer } = this.handshake;
    return { address, fd, role, peer };
  }

  /**
   * Puts a session on its connection that was made before that, with a descriptor of -1; also on the next,
   * when the handshake failed on one. It is a further connection to a peer that has accepted this end on
   * another, so that its end says nothing of who this is.
   *
   * @param fd a connected, non-blocking stream socket, owned elsewhere
   * @returns for the thread that does the handshake; others use {@linkcode TlsSession.init} with this `fd`
   */
  attach(fd: number): TlsHandshakeInit {
    openSsl().SSL_clear(this.#address);
    const handshake = { ...this.handshake, fd };
    this.#lay(handshake);
    Atomics.store(sharedParts(handshake).words, SessionWord.HEARD, 1);
    return handshake;
  }

  /** In a migration the client sends the pages. */
  #lay(init: TlsHandshakeInit): void {
    const kernel = layOnSocket(this.#address, init.fd, init.role === "client");
    Atomics.store(sharedParts(init).words, SessionWord.KERNEL, kernel);
  }

  #expect(hostname: string): void {
    const library = openSsl();
    const [name] = hostname.split("%", 1); // an interface is this host's own business
    if (ADDRESS.test(name!)) {
      const parameters = library.SSL_get0_param(this.#address);
      if (library.X509_VERIFY_PARAM_set1_ip_asc(parameters, cString(name!)) === 1) return;
    } else {
      library.SSL_set_hostflags(this.#address, NO_PARTIAL_WILDCARDS);
      if (library.SSL_set1_host(this.#address, cString(name!)) === 1) return;
    }
    this.close();
    throw new TlsError("WRONG_NAME", `Not a host name or address: ${hostname}`);
  }

  /** Frees it. No thread may use it any more; the socket stays open. Closing again does nothing. */
  close(): void {
    const address = this.#address;
    this.#address = 0n;
    if (address !== 0n) freeSession(Number(address));
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
