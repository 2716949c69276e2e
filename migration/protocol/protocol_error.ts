/** The error for bytes that are not the protocol's. */

/** What kind of thing was wrong with the bytes; stable, for programs. */
export type ProtocolErrorCode =
  | "bad-header"
  | "bad-configuration"
  | "bad-element"
  | "bad-section"
  | "bad-record"
  | "bad-block-list"
  | "bad-page"
  | "bad-packet"
  | "bad-command"
  | "bad-package"
  | "bad-message"
  | "bad-bitmap"
  | "bad-description"
  | "bad-name"
  | "truncated";

/**
 * The peer (or a file) sent bytes that the protocol does not allow.
 *
 * The decoder that threw it is of no further use: its position is lost.
 */
export class ProtocolError extends Error {
  /** The class's name. */
  override readonly name = "ProtocolError";
  /** Machine-readable kind. */
  readonly code: ProtocolErrorCode;
  /** Offset in bytes from the first byte the decoder was ever given. */
  readonly offset: number;
  /** What would have been right at this offset. */
  readonly expected: string;
  /** What was there. */
  readonly found: string;

  /**
   * Makes the error.
   *
   * @param code Kind of the error.
   * @param offset Bytes from the start of the decoded input.
   * @param expected What would have been right.
   * @param found What was there.
   * @param channel Which byte stream it was, for the message.
   */
  constructor(
    code: ProtocolErrorCode,
    offset: number,
    expected: string,
    found: string,
    channel = "migration stream",
  ) {
    super(`Malformed ${channel} at byte ${offset}: expected ${expected}, found ${found}`);
    this.code = code;
    this.offset = offset;
    this.expected = expected;
    this.found = found;
  }
}

/** Formats a number for an error message the way the protocol's documents write it. */
export function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
