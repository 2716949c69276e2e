/** What all TLS sessions of one end share: certificates or keys, versions and ciphers. */

import { cString } from "../libc.ts";
import type { Certificate } from "./certificate.ts";
import { openSsl } from "./libssl.ts";
import { takeLibraryError } from "./library_error.ts";
import type { PemObject } from "./pem.ts";
import { TlsError } from "./tls_error.ts";

/** Who begins the handshake: in a migration the source is the client, on every connection. */
export type TlsRole = "client" | "server";

/** A key that both ends know, with the name that it goes by. */
export interface PreSharedKey {
  readonly identity: string;
  readonly key: Uint8Array;
}

/** What an end shows and asks of the other. Plain data but for what the library owns. */
export type TlsPolicy =
  | {
    readonly kind: "x509";
    /** Whether the other end must show a certificate that holds. */
    readonly verifyPeer: boolean;
    /** Names of which the other end's certificate must have one; absent: whoever has a good one. */
    readonly authorized?: readonly string[];
  }
  | {
    readonly kind: "psk";
    /** A client's one key, or all that a server knows. */
    readonly keys: readonly PreSharedKey[];
  };

/** A context in plain data, for the threads that make sessions from it; owned elsewhere. */
export interface TlsContextInit {
  /** The library's object. */
  readonly address: bigint;
  /** Client or server. */
  readonly role: TlsRole;
  /** What is asked of the other end. */
  readonly policy: TlsPolicy;
}

/** Certificates and what belongs to them, as read from files; they stay the caller's. */
export interface X509Parts {
  /** Who may have signed the other end's certificate. */
  readonly authorities: readonly Certificate[];
  /** Lists of what those have taken back; none: nothing is looked up. */
  readonly revoked: readonly PemObject[];
  /** The own certificate, and those between it and the authority; none: a client that shows none. */
  readonly chain: readonly Certificate[];
  /** The own certificate's key. */
  readonly key?: PemObject;
}

// From openssl/ssl.h, x509_vfy.h, tls1.h.
const CTRL_MODE = 33;
const CTRL_SET_SESSION_CACHE = 44;
const CTRL_CHAIN_CERT = 89;
const CTRL_SET_MIN_PROTO_VERSION = 123;
const MODE_ENABLE_PARTIAL_WRITE = 1n;
const MODE_ACCEPT_MOVING_WRITE_BUFFER = 2n;
const OP_NO_TICKET = 1n << 14n;
const OP_NO_RENEGOTIATION = 1n << 30n;
const TLS1_2_VERSION = 0x303n;
const TLS1_3_VERSION = 0x304n;
const VERIFY_NONE = 0;
const VERIFY_PEER = 1;
const VERIFY_FAIL_IF_NO_PEER_CERT = 2;
const V_FLAG_CRL_CHECK = 0x4n;
/** Whatever is in ca-cert.pem is trusted, as with GnuTLS, and not self-signed authorities alone. */
const V_FLAG_PARTIAL_CHAIN = 0x8_0000n;
/**
 * The best that a QEMU takes with a key: GnuTLS binds those to SHA-256, which leaves this, and CHACHA20, which
 * is five times slower.
 */
const PSK_CIPHER = cString("TLS_AES_128_GCM_SHA256");

/** Certificates or keys of one end, from which sessions are made, in any number. */
export class TlsContext implements TlsContextInit, Disposable {
  /** Client or server. */
  readonly role: TlsRole;
  /** What is asked of the other end. */
  readonly policy: TlsPolicy;
  #address: bigint;

  private constructor(role: TlsRole, policy: TlsPolicy) {
    const library = openSsl();
    this.role = role;
    this.policy = policy;
    const method = role === "client" ? library.TLS_client_method() : library.TLS_server_method();
    const context = this.#address = library.SSL_CTX_new(method);
    if (context === 0n) throw failure("SSL_CTX_new");
    const lowest = policy.kind === "psk" ? TLS1_3_VERSION : TLS1_2_VERSION;
    const mode = MODE_ENABLE_PARTIAL_WRITE | MODE_ACCEPT_MOVING_WRITE_BUFFER;
    library.SSL_CTX_ctrl(context, CTRL_SET_MIN_PROTO_VERSION, lowest, 0n);
    library.SSL_CTX_ctrl(context, CTRL_MODE, mode, 0n);
    // Nothing is read ahead, which would save a call of 0.4 us a record: a poll of the socket then tells of
    // all that has not been read.
    // Every connection has its own handshake, in which the other end is checked.
    library.SSL_CTX_ctrl(context, CTRL_SET_SESSION_CACHE, 0n, 0n);
    library.SSL_CTX_set_options(context, OP_NO_TICKET | OP_NO_RENEGOTIATION);
    library.SSL_CTX_set_num_tickets(context, 0n);
  }

  /**
   * Makes one that shows and checks certificates.
   *
   * @throws {TlsError} `LIBRARY_MISSING`, or `BAD_CREDENTIALS` when the library refuses a part
   */
  static x509(
    role: TlsRole,
    parts: X509Parts,
    policy: Omit<TlsPolicy & { kind: "x509" }, "kind">,
  ): TlsContext {
    const context = new TlsContext(role, { kind: "x509", ...policy });
    try {
      context.#use(parts);
      // A client that shows no certificate is told so in the handshake.
      const mode = VERIFY_PEER | (role === "server" ? VERIFY_FAIL_IF_NO_PEER_CERT : 0);
      openSsl().SSL_CTX_set_verify(context.address, policy.verifyPeer ? mode : VERIFY_NONE, 0n);
      return context;
    } catch (error) {
      context.close();
      throw error;
    }
  }

  /**
   * Makes one whose sessions use keys that both ends know.
   *
   * @param keys a client's one, or all that a server knows
   * @throws {TlsError} `LIBRARY_MISSING`
   */
  static psk(role: TlsRole, keys: readonly PreSharedKey[]): TlsContext {
    const context = new TlsContext(role, { kind: "psk", keys });
    openSsl().SSL_CTX_set_ciphersuites(context.address, PSK_CIPHER);
    // A server that would show a certificate instead shows none that is trusted: there is no authority.
    openSsl().SSL_CTX_set_verify(
      context.address,
      role === "client" ? VERIFY_PEER : VERIFY_NONE,
      0n,
    );
    return context;
  }

  /** For another thread. */
  get init(): TlsContextInit {
    return { address: this.address, role: this.role, policy: this.policy };
  }

  /** Its address, for the library's calls. */
  get address(): bigint {
    if (this.#address === 0n) throw new Error("TLS context is closed");
    return this.#address;
  }

  #use({ authorities, revoked, chain, key }: X509Parts): void {
    const library = openSsl();
    const context = this.address;
    fillStore(library.SSL_CTX_get_cert_store(context), authorities, revoked);
    const [own, ...between] = chain;
    if (own === undefined || key === undefined) return;
    library.ERR_clear_error();
    if (library.SSL_CTX_use_certificate(context, own.address) !== 1) {
      throw failure(`certificate of ${own.subject}`);
    }
    if (library.SSL_CTX_use_PrivateKey(context, key.address) !== 1) {
      throw failure(`private key of ${own.subject}`);
    }
    for (const certificate of between) {
      library.SSL_CTX_ctrl(context, CTRL_CHAIN_CERT, 1n, certificate.address);
    }
  }

  /** Frees it; sessions that were made from it live on. Closing again does nothing. */
  close(): void {
    const address = this.#address;
    this.#address = 0n;
    if (address !== 0n) openSsl().SSL_CTX_free(address);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Puts what is trusted, and what is not any more, into a store of the library's. */
export function fillStore(
  store: bigint,
  authorities: readonly Certificate[],
  revoked: readonly PemObject[],
): void {
  const library = openSsl();
  for (const { address } of authorities) library.X509_STORE_add_cert(store, address);
  for (const { address } of revoked) library.X509_STORE_add_crl(store, address);
  const flags = V_FLAG_PARTIAL_CHAIN | (revoked.length > 0 ? V_FLAG_CRL_CHECK : 0n);
  library.X509_STORE_set_flags(store, flags);
}

function failure(what: string): TlsError {
  return new TlsError(
    "BAD_CREDENTIALS",
    `OpenSSL does not take what TLS is to use: ${what}: ${takeLibraryError().text}`,
  );
}
