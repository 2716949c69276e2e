/** What the commands of the destination side share: exit codes. */

import { SyscallError } from "../../ffi/errno.ts";
import { UnsupportedPlatformError } from "../../ffi/platform.ts";
import { SocketAddressError } from "../../ffi/socket_address.ts";
import { UsageError } from "../../migration/command/arguments.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { WorkerThreadError } from "../../migration/threads/worker_thread.ts";
import { WorkloadError } from "../../workload/workload_error.ts";

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

/** The user ended the command. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";

  /** Says what became of the guest. */
  constructor() {
    super("Interrupted: the guest is gone");
  }
}

/**
 * Returns the exit code for what a command threw, whose message is for the user; undefined for a
 * mistake of this program.
 */
export function exitCodeOf(error: Error): number | undefined {
  if (error instanceof UsageError) return ExitCode.USAGE;
  if (error instanceof Deno.errors.NotCapable) return ExitCode.USAGE; // names the missing flag
  if (error instanceof Interrupted) return ExitCode.INTERRUPTED;
  if (error instanceof SocketAddressError) {
    return error.code === "BAD_ADDRESS" ? ExitCode.USAGE : ExitCode.CANNOT_LISTEN;
  }
  if (error instanceof SyscallError) {
    return ["bind", "listen"].includes(error.syscall) ? ExitCode.CANNOT_LISTEN : ExitCode.FAILED;
  }
  if (
    error instanceof MigrationError || error instanceof UnsupportedPlatformError ||
    error instanceof WorkloadError
  ) return ExitCode.FAILED;
  // Reading the worker's module takes a permission.
  if (error instanceof WorkerThreadError && error.code === "CANNOT_RUN") return ExitCode.USAGE;
  // A thread's: it crossed as plain data, with its name.
  return error.name === "ProtocolError" ? ExitCode.FAILED : undefined;
}
