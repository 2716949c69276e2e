/** What OpenSSL says of a call that failed: its queue of errors, which each thread has for itself. */

import { openSsl, textAt } from "./libssl.ts";

// From openssl/err.h: an error is the system's errno, or 8 bits of library over 23 bits of reason.
const SYSTEM_FLAG = 0x8000_0000n;
const REASON_BITS = 23n;
const REASON_MASK = 0x7f_ffffn;
const LIB_SSL = 20;

/** Reasons of libssl, from openssl/sslerr.h. */
export const SslReason = {
  BAD_PROTOCOL_VERSION_NUMBER: 116,
  CERTIFICATE_VERIFY_FAILED: 134,
  HTTP_REQUEST: 156,
  HTTPS_PROXY_REQUEST: 155,
  NO_SHARED_CIPHER: 193,
  NO_SUITABLE_SIGNATURE_ALGORITHM: 118,
  PACKET_LENGTH_TOO_LONG: 198,
  PEER_DID_NOT_RETURN_A_CERTIFICATE: 199,
  UNKNOWN_PROTOCOL: 252,
  BINDER_DOES_NOT_VERIFY: 253,
  UNSUPPORTED_PROTOCOL: 258,
  WRONG_VERSION_NUMBER: 267,
  DECRYPTION_FAILED_OR_BAD_RECORD_MAC: 281,
  UNEXPECTED_EOF_WHILE_READING: 294,
  PSK_IDENTITY_NOT_FOUND: 223,
} as const;

/** A reason from here on is the other end's alert, of one byte: its number is what is above. */
const ALERT_REASONS = 1000;
const ALERTS = 256;

/** Alerts, from RFC 8446, section 6. */
export const Alert = {
  UNEXPECTED_MESSAGE: 10,
  BAD_RECORD_MAC: 20,
  HANDSHAKE_FAILURE: 40,
  BAD_CERTIFICATE: 42,
  UNSUPPORTED_CERTIFICATE: 43,
  CERTIFICATE_REVOKED: 44,
  CERTIFICATE_EXPIRED: 45,
  CERTIFICATE_UNKNOWN: 46,
  ILLEGAL_PARAMETER: 47,
  UNKNOWN_CA: 48,
  ACCESS_DENIED: 49,
  DECRYPT_ERROR: 51,
  PROTOCOL_VERSION: 70,
  INSUFFICIENT_SECURITY: 71,
  INTERNAL_ERROR: 80,
  UNKNOWN_PSK_IDENTITY: 115,
  CERTIFICATE_REQUIRED: 116,
} as const;

/** One error of the library's. */
export interface LibraryError {
  /** The reason's number if it is libssl's, else 0. */
  readonly reason: number;
  /** The number of the alert that the other end sent; absent: none. */
  readonly alert?: number;
  /** The reason in the library's words. */
  readonly text: string;
}

/**
 * Empties this thread's queue and returns what says most: libssl's own word, else the last one. Nothing
 * else of the library may be called between the failure and this.
 */
export function takeLibraryError(): LibraryError {
  const library = openSsl();
  let best: LibraryError = { reason: 0, text: "no reason was given" };
  while (true) {
    const code = library.ERR_get_error();
    if (code === 0n) return best;
    const text = textAt(library.ERR_reason_error_string(code)) || `error ${code.toString(16)}`;
    const isSsl = (code & SYSTEM_FLAG) === 0n && Number(code >> REASON_BITS) === LIB_SSL;
    if (!isSsl) {
      if (best.reason === 0) best = { reason: 0, text };
      continue;
    }
    const reason = Number(code & REASON_MASK);
    const alert = reason - ALERT_REASONS;
    best = alert >= 0 && alert < ALERTS ? { reason, text, alert } : { reason, text };
  }
}
