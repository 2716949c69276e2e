/** What came of a call on a session: negated errnos, what to wait for, and errors in words. */

import { Errno, SyscallError } from "../errno.ts";
import { errno } from "../libc.ts";
import { PollEvents } from "../poll.ts";
import { Alert, type LibraryError, SslReason, takeLibraryError } from "./library_error.ts";
import { openSsl } from "./libssl.ts";
import { SessionWord, sharedParts, type TlsSessionInit } from "./session.ts";
import { TlsError } from "./tls_error.ts";

// From openssl/ssl.h.
const ERROR_WANT_READ = 2;
const ERROR_WANT_WRITE = 3;
const ERROR_SYSCALL = 5;
const ERROR_ZERO_RETURN = 6;

/** Says that a call broke the session, and that the error in words is with whoever made the call. */
export const BROKEN = -Errno.EPROTO;

/** What a call that did not succeed means. */
export interface CallResult {
  /** 0 at the end of the stream, `-EAGAIN` to wait, the negated errno of the socket, or {@linkcode BROKEN}. */
  readonly code: number;
  /** What to poll for after `-EAGAIN`. */
  readonly wants?: number;
  /** What broke it. */
  readonly error?: LibraryError;
}

const AWAIT_INPUT: CallResult = { code: -Errno.EAGAIN, wants: PollEvents.IN };
const AWAIT_ROOM: CallResult = { code: -Errno.EAGAIN, wants: PollEvents.OUT };
const ENDED: CallResult = { code: 0 };
const CUT: LibraryError = {
  reason: SslReason.UNEXPECTED_EOF_WHILE_READING,
  text: "unexpected eof",
};

/** Says what a call's result below 1 means. Right after the call, on its thread, with the session's lock held. */
export function callResult(session: bigint, result: number): CallResult {
  switch (openSsl().SSL_get_error(session, result)) {
    case ERROR_WANT_READ:
      return AWAIT_INPUT;
    case ERROR_WANT_WRITE:
      return AWAIT_ROOM;
    case ERROR_ZERO_RETURN:
      return ENDED;
    case ERROR_SYSCALL: {
      const code = errno();
      return code === 0 ? { code: BROKEN, error: CUT } : { code: -code };
    }
    default:
      return { code: BROKEN, error: takeLibraryError() };
  }
}

/** Whether a result says that the connection ended without the closing word. */
export function isTruncated({ error }: CallResult): boolean {
  return error?.reason === SslReason.UNEXPECTED_EOF_WHILE_READING;
}

/** The other end's words for why it refuses, by the number of its alert. */
const REFUSALS: Readonly<Record<number, string>> = {
  [Alert.HANDSHAKE_FAILURE]:
    "they have no cipher or key in common: give both ends credentials of one " +
    "kind, certificates or pre-shared keys, and of those one that both know (--tls-username)",
  [Alert.BAD_CERTIFICATE]:
    "the certificate of this end does not hold there, mostly because it is not " +
    "for the name by which it was reached: the other end's message tells; issue one for that name, or " +
    "give the source --tls-hostname (QEMU: tls-hostname)",
  [Alert.UNSUPPORTED_CERTIFICATE]: "the certificate of this end is not made for this end of a " +
    "connection: issue one with the extended key usage serverAuth for who listens, clientAuth for who " +
    "connects",
  [Alert.CERTIFICATE_REVOKED]: "the certificate of this end has been revoked: issue a new one",
  [Alert.CERTIFICATE_EXPIRED]:
    "the certificate of this end has expired, or is not valid yet there: see " +
    "that the clocks of both hosts are right, or issue a new one",
  [Alert.CERTIFICATE_UNKNOWN]:
    "the certificate of this end is not accepted there: the other end's " +
    "message tells why",
  [Alert.ILLEGAL_PARAMETER]:
    "the pre-shared keys may not be the same: put the same line of keys.psk on " +
    "both hosts",
  [Alert.UNKNOWN_CA]: "it does not know the authority of this end's certificate: both ends need " +
    "certificates of one authority, and its ca-cert.pem",
  [Alert.ACCESS_DENIED]:
    "the certificate of this end is not among those that may connect: see its " +
    "--tls-authz (QEMU: tls-authz)",
  [Alert.DECRYPT_ERROR]:
    "the pre-shared keys are not the same: put the same line of keys.psk on both " +
    "hosts",
  [Alert.PROTOCOL_VERSION]: "it speaks no version of TLS that is spoken here (1.2 and 1.3; with " +
    "pre-shared keys 1.3)",
  [Alert.INSUFFICIENT_SECURITY]: "it wants stronger ciphers: see its priority",
  [Alert.UNKNOWN_PSK_IDENTITY]: "it does not know this identity: see --tls-username",
  [Alert.CERTIFICATE_REQUIRED]: "it wants a certificate, and this end has none to show: add " +
    "client-cert.pem and client-key.pem to the credentials",
};

/** Reasons that say that what came is no TLS. */
const NOT_TLS: readonly number[] = [
  SslReason.WRONG_VERSION_NUMBER,
  SslReason.HTTP_REQUEST,
  SslReason.HTTPS_PROXY_REQUEST,
  SslReason.UNKNOWN_PROTOCOL,
  SslReason.PACKET_LENGTH_TOO_LONG,
  SslReason.BAD_PROTOCOL_VERSION_NUMBER,
];

/** The error for a session that ended when the other end had shaken hands and said nothing yet. */
function refusedSilently(peer: string, cause?: Error): TlsError {
  return new TlsError(
    "REFUSED",
    `${peer} ended the connection right after the handshake: it probably does not accept the ` +
      "certificate of this end, or who it belongs to (its own log tells): see its tls-hostname, verify-peer and tls-authz",
    { cause },
  );
}

/** The error for an end that is closed, or cut off, before its handshake is done. */
function closedInHandshake(peer: string, cause?: Error): TlsError {
  return new TlsError(
    "REFUSED",
    `${peer} closed the connection during the handshake: it may not speak TLS, or does not accept ` +
      "this end (a QEMU closes without a word for a wrong pre-shared key; its own log tells)",
    { cause },
  );
}

function isReset({ code }: CallResult): boolean {
  return code === -Errno.ECONNRESET || code === -Errno.EPIPE;
}

/** Makes the error of a session that broke while it was used. */
export function brokenSession(init: TlsSessionInit, result: CallResult): Error {
  const { peer } = init;
  const unheard = Atomics.load(sharedParts(init).words, SessionWord.HEARD) === 0;
  const { error } = result;
  if (error === undefined) {
    const broken = new SyscallError("TLS", -result.code, `connection with ${peer}`);
    return isReset(result) && unheard ? refusedSilently(peer, broken) : broken;
  }
  if (isTruncated(result)) {
    if (unheard) return refusedSilently(peer);
    return new TlsError(
      "TRUNCATED",
      `The connection with ${peer} ended without TLS's closing word: it broke, or somebody cut it`,
    );
  }
  if (error.alert === Alert.BAD_RECORD_MAC) return damaged(peer, `as ${peer} says`);
  if (error.alert !== undefined) return refused(peer, error);
  if (error.reason === SslReason.DECRYPTION_FAILED_OR_BAD_RECORD_MAC) return damaged(peer, "here");
  return new TlsError("PROTOCOL", `TLS with ${peer} failed: ${error.text}`);
}

function damaged(peer: string, where: string): TlsError {
  return new TlsError(
    "DAMAGED",
    `What came by the connection with ${peer} is not what was sent, ${where}: somebody or ` +
      "something between the ends changes it",
  );
}

/** The error for an alert. */
export function refused(peer: string, { alert, text }: LibraryError): TlsError {
  const why = REFUSALS[alert!] ?? text;
  return new TlsError("REFUSED", `${peer} refuses this end (alert ${alert}): ${why}`);
}

/** Makes the error of a handshake that failed for another reason than a certificate or a key. */
export function failedHandshake(init: TlsSessionInit, result: CallResult): Error {
  const { peer } = init;
  const { error } = result;
  if (error === undefined) {
    const broken = new SyscallError("TLS", -result.code, `handshake with ${peer}`);
    return isReset(result) ? closedInHandshake(peer, broken) : broken;
  }
  if (error.alert !== undefined) return refused(peer, error);
  if (isTruncated(result)) return closedInHandshake(peer);
  if (NOT_TLS.includes(error.reason)) {
    return new TlsError(
      "NOT_TLS",
      `${peer} does not speak TLS (${error.text}): give it TLS credentials too`,
    );
  }
  if (error.reason === SslReason.UNSUPPORTED_PROTOCOL) {
    return new TlsError(
      "NOT_TLS",
      `${peer} speaks no version of TLS that is accepted here: 1.2, 1.3`,
    );
  }
  if (error.reason === SslReason.DECRYPTION_FAILED_OR_BAD_RECORD_MAC) return damaged(peer, "here");
  return new TlsError("PROTOCOL", `The TLS handshake with ${peer} failed: ${error.text}`);
}
