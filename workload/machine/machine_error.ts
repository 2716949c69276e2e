/** What can be wrong with a machine, its settings, or what was loaded into it. */

/** Machine-readable reasons why a {@linkcode MachineError} was thrown. */
export type MachineErrorCode =
  /** Settings that no machine can have. */
  | "BAD_OPTIONS"
  /** RAM blocks that are not this machine's. */
  | "WRONG_MEMORY"
  /** A state of another machine: other devices behind the same names. */
  | "OTHER_MACHINE"
  /** A ring that cannot be: outside of memory, or with indices that no driver writes. */
  | "BAD_RING"
  /** A queue that would run with a ring cache that is missing, or not true any more. */
  | "STALE_CACHE"
  /** Guest memory asked for where there is none. */
  | "NO_MEMORY_THERE"
  /** A call that does not go with what the machine is doing. */
  | "WRONG_STATE";

/** A machine that cannot be made, loaded or started. */
export class MachineError extends Error {
  override readonly name = "MachineError";
  /** Machine-readable reason. */
  readonly code: MachineErrorCode;

  /**
   * @param code machine-readable reason
   * @param message what is wrong and what to do about it
   */
  constructor(code: MachineErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
