/** The handshake of a TLS session, in steps that do not wait. */

import { Errno } from "../errno.ts";
import { Certificate } from "./certificate.ts";
import { certificateFault } from "./certificate_fault.ts";
import { BROKEN, type CallResult, callResult, failedHandshake } from "./call_result.ts";
import { handOver, KernelTls } from "./kernel_tls.ts";
import { SslReason } from "./library_error.ts";
import { openSsl, textAt } from "./libssl.ts";
import { PskCallback } from "./psk_callback.ts";
import { SessionWord, sharedParts, type TlsHandshakeInit } from "./session.ts";
import { TlsError } from "./tls_error.ts";

/**
 * Shakes hands on a session, on the thread that makes the steps. A step costs up to some 2 ms of processor,
 * where a signature is made.
 */
export class TlsHandshake implements Disposable {
  readonly #init: TlsHandshakeInit;
  readonly #session: bigint;
  readonly #words: Int32Array<ArrayBuffer>;
  #psk: PskCallback | undefined;
  #wants = 0;

  /** @param init of a session that nobody else uses until the handshake is done */
  constructor(init: TlsHandshakeInit) {
    this.#init = init;
    this.#session = BigInt(init.address);
    this.#words = sharedParts(init).words;
    const { policy, role } = init;
    if (policy.kind === "psk") this.#psk = new PskCallback(this.#session, role, policy.keys);
  }

  /** Bits of `PollEvents` to wait for after a step that was not the last. */
  get wants(): number {
    return this.#wants;
  }

  /**
   * Goes on as far as it can without waiting.
   *
   * @returns true when the handshake is done, and the other end is who it should be
   * @throws {TlsError} when it is not, or does not take this one
   * @throws {SyscallError} when the connection broke
   */
  step(): boolean {
    const library = openSsl();
    library.ERR_clear_error();
    const count = library.SSL_do_handshake(this.#session);
    if (count === 1) {
      this.#check();
      if (handOver(this.#session)) {
        Atomics.store(this.#words, SessionWord.KERNEL, KernelTls.SENDS);
      }
      this.close();
      return true;
    }
    const result = callResult(this.#session, count);
    if (result.code === -Errno.EAGAIN) {
      this.#wants = result.wants!;
      return false;
    }
    throw this.#failure(result);
  }

  /** Of a handshake that is done: how and by whom it is encrypted, and whose certificate the other end showed. */
  get outcome(): {
    readonly cipher: string;
    readonly kernel: KernelTls;
    readonly subject?: string;
  } {
    const library = openSsl();
    const name = library.SSL_CIPHER_get_name(library.SSL_get_current_cipher(this.#session));
    const cipher = `${textAt(library.SSL_get_version(this.#session))} ${textAt(name)}`;
    using certificate = this.#peerCertificate();
    const kernel = Atomics.load(this.#words, SessionWord.KERNEL) as KernelTls;
    if (certificate === undefined) return { cipher, kernel };
    return { cipher, kernel, subject: printable(certificate.subject) };
  }

  /** What the library leaves to its users. */
  #check(): void {
    const { policy, peer } = this.#init;
    if (policy.kind === "psk") {
      // Without the key it would be a stranger with whom nothing but a cipher was agreed on.
      if (openSsl().SSL_session_reused(this.#session) === 1) return;
      throw new TlsError(
        "WRONG_KEY",
        `${peer} does not use the pre-shared key: put the same line of keys.psk on both hosts`,
      );
    }
    const { authorized } = policy;
    if (authorized === undefined) return;
    using certificate = this.#peerCertificate();
    if (certificate === undefined) throw this.#noCertificate();
    if (authorized.some((name) => certificate.isOf(name))) return;
    throw new TlsError(
      "DENIED",
      `${peer} has a good certificate, but is not among those who may connect (--tls-authz): ` +
        `${printable(certificate.subject)}: if it should be, add that, or a host name of it`,
    );
  }

  #failure(result: CallResult): Error {
    const { policy, peer } = this.#init;
    if (result.code !== BROKEN || result.error!.alert !== undefined) {
      return failedHandshake(this.#init, result);
    }
    if (policy.kind === "psk") return this.#pskFailure(result);
    switch (result.error!.reason) {
      case SslReason.PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return this.#noCertificate();
      case SslReason.CERTIFICATE_VERIFY_FAILED:
        return this.#certificateFailure();
      case SslReason.NO_SHARED_CIPHER:
        return new TlsError(
          "NOT_TLS",
          `${peer} has no cipher in common with this end: it may want pre-shared keys, and this end ` +
            "has certificates: give both ends credentials of one kind",
        );
      default:
        return failedHandshake(this.#init, result);
    }
  }

  #pskFailure(result: CallResult): Error {
    const { peer, role } = this.#init;
    const unknown = this.#psk?.unknown;
    if (unknown !== undefined) {
      return new TlsError(
        "UNKNOWN_IDENTITY",
        `${peer} goes by an identity that is not in keys.psk here: ${
          printable(unknown)
        }: add a line ` +
          "for it, or let it use one of those (--tls-username, QEMU's username=)",
      );
    }
    switch (result.error!.reason) {
      case SslReason.BINDER_DOES_NOT_VERIFY:
        return new TlsError(
          "WRONG_KEY",
          `${peer} has another pre-shared key than this end for its identity: put the same line of ` +
            "keys.psk on both hosts",
        );
      case SslReason.CERTIFICATE_VERIFY_FAILED:
      case SslReason.NO_SUITABLE_SIGNATURE_ALGORITHM:
      case SslReason.NO_SHARED_CIPHER:
        return new TlsError(
          "WRONG_KEY",
          role === "client"
            ? `${peer} shows a certificate and does not use the pre-shared key: give both ends ` +
              "credentials of one kind, and see that it knows the identity (--tls-username)"
            : `${peer} offers no pre-shared key for TLS 1.3 and AES-128-GCM: give both ends ` +
              "credentials of one kind, and let it have that cipher (QEMU's priority=)",
        );
      default:
        return failedHandshake(this.#init, result);
    }
  }

  #certificateFailure(): TlsError {
    const { peer, hostname } = this.#init;
    const found = Number(openSsl().SSL_get_verify_result(this.#session));
    const { code, what, remedy } = certificateFault(found, hostname);
    return new TlsError(code, `The certificate of ${peer} ${what}: ${remedy}`);
  }

  #noCertificate(): TlsError {
    return new TlsError(
      "NO_CERTIFICATE",
      `${this.#init.peer} shows no certificate: give it client-cert.pem and client-key.pem of the ` +
        "same authority",
    );
  }

  #peerCertificate(): Certificate | undefined {
    const address = openSsl().SSL_get1_peer_certificate(this.#session);
    return address === 0n ? undefined : new Certificate(address);
  }

  /** Ends it, done or not; the session stays its owner's. Closing again does nothing. */
  close(): void {
    this.#psk?.close();
    this.#psk = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** What a stranger chose, fit for a line of a log. */
function printable(text: string): string {
  return text.replace(/\p{C}/gu, "?").slice(0, 300);
}
