/** How the daemon refuses. */

/** Machine-readable reasons. Errors of the module come with their own. */
export type ServiceErrorCode =
  /** No session has that name. */
  | "NO_SUCH_SESSION"
  /** A daemon before this one began the session, and what is asked for must wait until that is gone on with. */
  | "NOT_YET"
  /** The directory of images is not there any more, or cannot be read. */
  | "NO_DIRECTORY"
  /** No image has that name. */
  | "NO_SUCH_IMAGE"
  /** A name that cannot be, or leads out of the directory that it is of. */
  | "BAD_NAME"
  /** What was asked for cannot be understood, or goes against itself. */
  | "BAD_REQUEST"
  /** A session serves that destination, or listens there, already. */
  | "BEING_SERVED"
  /** Ending it would lose a guest. */
  | "GUEST_AT_STAKE"
  /** The session is not where that could be done. */
  | "WRONG_STATE"
  /** Sessions of that kind cannot do it. */
  | "UNSUPPORTED"
  /** As many sessions run as may. */
  | "TOO_MANY_SESSIONS"
  /** It would take more memory than there may be. */
  | "TOO_MUCH_MEMORY"
  /** The daemon is about to end. */
  | "DRAINING"
  /** The key of another request. */
  | "KEY_REUSED";

/** Something that the daemon does not do; nothing has changed. */
export class ServiceError extends Error {
  override readonly name = "ServiceError";
  /** Machine-readable reason. */
  readonly code: ServiceErrorCode;
  /** What to do about it, where the message does not say so. */
  readonly remedy: string | undefined;

  /**
   * Makes the error.
   *
   * @param code machine-readable reason
   * @param message what is refused, with the value
   * @param remedy what to do
   */
  constructor(code: ServiceErrorCode, message: string, remedy?: string) {
    super(message);
    this.code = code;
    this.remedy = remedy;
  }
}
