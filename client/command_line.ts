/** What the commands of the destination side share: exit codes. */

/** Exit codes of `client/main.ts`. */
export const ExitCode = {
  DONE: 0,
  /** The migration failed, or the guest's memory is not what it must be. */
  FAILED: 1,
  USAGE: 2,
  /** The address to listen at cannot be used. */
  CANNOT_LISTEN: 4,
  INTERRUPTED: 130,
} as const;
