/** How TLS fails. */

/** Machine-readable reasons. Of a certificate they are said of the other end's, unless a file is named. */
export type TlsErrorCode =
  /** This host has no OpenSSL 3. */
  | "LIBRARY_MISSING"
  /** A file of the credentials is missing, cannot be read, or does not fit. */
  | "BAD_CREDENTIALS"
  /** A certificate, or a list of revoked ones, whose time is over. */
  | "EXPIRED"
  /** A certificate whose time has not come. */
  | "NOT_YET_VALID"
  /** A good certificate for another name. */
  | "WRONG_NAME"
  /** A certificate of an authority that is not trusted here. */
  | "UNKNOWN_AUTHORITY"
  /** A certificate that is not made for this end of a connection. */
  | "WRONG_PURPOSE"
  /** A certificate that its authority has taken back. */
  | "REVOKED"
  /** A certificate whose signature or key is worth nothing. */
  | "BAD_CERTIFICATE"
  /** No certificate at all. */
  | "NO_CERTIFICATE"
  /** A good certificate of somebody who is not among those who may connect. */
  | "DENIED"
  /** A pre-shared key of an identity that is not known here. */
  | "UNKNOWN_IDENTITY"
  /** A pre-shared key that is not the one known here. */
  | "WRONG_KEY"
  /** The other end does not accept this one. */
  | "REFUSED"
  /** The other end does not speak TLS, or no version or cipher that is spoken here. */
  | "NOT_TLS"
  /** The connection ended without TLS's closing word: it was cut, or the other end never says it. */
  | "TRUNCATED"
  /** What came is not what was sent. */
  | "DAMAGED"
  /** Anything else that is against the protocol, or a mistake of this program. */
  | "PROTOCOL";

/** A TLS session that could not be made, or broke. */
export class TlsError extends Error {
  /** The class's name. */
  override readonly name = "TlsError";
  /** Machine-readable reason. */
  readonly code: TlsErrorCode;

  /**
   * Makes the error.
   *
   * @param code machine-readable reason
   * @param message what happened and what to do about it
   */
  constructor(code: TlsErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
