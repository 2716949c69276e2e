/** Exit codes that mean the same in every command. */

import { MigrationError } from "../migration_error.ts";
import { WorkerThreadError } from "../threads/failure.ts";
import { UsageError } from "./arguments.ts";
import { Interrupted } from "./interrupt.ts";

/** Exit codes that every command may end with. */
export const CommonExitCode = {
  DONE: 0,
  FAILED: 1,
  USAGE: 2,
  INTERRUPTED: 130,
} as const;

/**
 * Returns the exit code for an error that any command may throw, whose message is for the user;
 * undefined for others.
 */
export function commonExitCodeOf(error: Error): number | undefined {
  if (error instanceof UsageError) return CommonExitCode.USAGE;
  if (error instanceof Deno.errors.NotCapable) return CommonExitCode.USAGE; // names the missing flag
  if (error instanceof Interrupted) return CommonExitCode.INTERRUPTED;
  if (error instanceof MigrationError) return CommonExitCode.FAILED;
  // Reading the worker's module takes a permission.
  if (error instanceof WorkerThreadError && error.code === "CANNOT_RUN") {
    return CommonExitCode.USAGE;
  }
  if (error.name === "TlsError") return CommonExitCode.FAILED; // by its name: this room knows no library
  // A thread's: it crossed as plain data, with its name.
  return error.name === "ProtocolError" ? CommonExitCode.FAILED : undefined;
}
