/** What goes wrong between this program and a QEMU that it speaks to by QMP. */

/** Machine-readable reasons. */
export type MonitorErrorCode =
  /** Nobody listens there, or the connection was closed. */
  | "UNREACHABLE"
  /** It says nothing. */
  | "SILENT"
  /** What answers is no QEMU. */
  | "NOT_QMP"
  /** QEMU answered a command with an error. */
  | "REFUSED"
  /** QEMU is not in a state in which it can be done, or its machine is another. */
  | "UNFIT";

/** A QEMU cannot do what it is to do. */
export class MonitorError extends Error {
  /** The class's name. */
  override readonly name = "MonitorError";

  /**
   * @param code machine-readable reason
   * @param message what happened and what to do about it
   */
  constructor(readonly code: MonitorErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
  }
}
