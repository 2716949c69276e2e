/** An order of first touch that a command was asked for and that cannot be used. */

/** An order that cannot be read, joined with another, or written. */
export class OrderError extends Error {
  /** The class's name. */
  override readonly name = "OrderError";
  /** Machine-readable reason. */
  readonly code = "BAD_ORDER";
}
