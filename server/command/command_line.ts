/** What the commands of the source side share: exit codes, and the image they work on. */

import { SyscallError } from "../../ffi/errno.ts";
import { UnsupportedPlatformError } from "../../ffi/platform.ts";
import { SocketAddressError } from "../../ffi/socket_address.ts";
import { UsageError } from "../../migration/command/arguments.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { WorkerThreadError } from "../../migration/threads/worker_thread.ts";
import { ImageError } from "../../image/image_error.ts";

/** Exit codes of `server/main.ts`. */
export const ExitCode = {
  DONE: 0,
  FAILED: 1,
  USAGE: 2,
  BAD_IMAGE: 3,
  UNREACHABLE: 4,
  INTERRUPTED: 130,
} as const;

/** The user ended the command. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";

  /** Says that nothing is lost. */
  constructor() {
    super("Interrupted: the image is as it was");
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
  if (error instanceof ImageError) return ExitCode.BAD_IMAGE;
  if (error instanceof SocketAddressError) {
    return error.code === "BAD_ADDRESS" ? ExitCode.USAGE : ExitCode.UNREACHABLE;
  }
  if (error instanceof DOMException && error.name === "TimeoutError") return ExitCode.UNREACHABLE;
  if (error instanceof SyscallError) {
    if (error.syscall === "open") return ExitCode.BAD_IMAGE;
    return error.syscall === "connect" ? ExitCode.UNREACHABLE : ExitCode.FAILED;
  }
  if (error instanceof MigrationError || error instanceof UnsupportedPlatformError) {
    return ExitCode.FAILED;
  }
  // Reading the worker's module takes a permission.
  if (error instanceof WorkerThreadError && error.code === "CANNOT_RUN") return ExitCode.USAGE;
  // A thread's: it crossed as plain data, with its name.
  if (error.name === "DamagedPageError") return ExitCode.BAD_IMAGE;
  return error.name === "ProtocolError" ? ExitCode.FAILED : undefined;
}

/**
 * Returns the one IMAGE that a command takes.
 *
 * @throws {UsageError} when there is none, or more than one
 */
export function imageArgument(positionals: readonly string[]): string {
  const [image, extra] = positionals;
  if (image === undefined) throw new UsageError("No IMAGE given");
  if (extra !== undefined) throw new UsageError(`One IMAGE at a time: ${extra}`);
  return image;
}
