/** What breaks a connection whose source keeps the guest and may come again. */

import { SyscallError } from "../../ffi/errno.ts";
import { MigrationError, type MigrationErrorCode } from "../../migration/migration_error.ts";
import { ProtocolError } from "../../migration/protocol/protocol_error.ts";

/** What a pause is for. */
export type Break = MigrationError | ProtocolError | SyscallError;

/** Whether a source that comes again can mend it. */
export function isBreak(error: unknown): error is Break {
  return error instanceof MigrationError || error instanceof ProtocolError || isLoss(error);
}

/** Whether the disk has lost what it was given, nobody knows what: the source has all of it. */
export function isLoss(error: unknown): error is SyscallError {
  return error instanceof SyscallError && error.syscall === "fsync";
}

/** The code under which a pause is told of. */
export function codeOf(error: Break): MigrationErrorCode {
  if (error instanceof MigrationError) return error.code;
  return isLoss(error) ? "IMAGE_FAILED" : "BAD_PEER";
}

/** The break between a receiver that is no more and the one that takes its file up. */
export function takenUp(): Break {
  return new MigrationError("CONNECTION_LOST", "The receive that began this file has ended");
}
