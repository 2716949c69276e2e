/** What the commands of the source side share: exit codes, and the image they work on. */

import { SyscallError } from "../../ffi/errno.ts";
import { UnsupportedPlatformError } from "../../ffi/platform.ts";
import { SocketAddressError } from "../../ffi/socket_address.ts";
import { UsageError } from "../../migration/command/arguments.ts";
import { CommonExitCode, commonExitCodeOf } from "../../migration/command/exit_code.ts";
import { ImageError } from "../../image/image_error.ts";

/** Exit codes of the source side's commands. */
export const ExitCode = {
  ...CommonExitCode,
  BAD_IMAGE: 3,
  UNREACHABLE: 4,
} as const;

/**
 * Returns the exit code for what a command threw, whose message is for the user; undefined for a
 * mistake of this program.
 */
export function exitCodeOf(error: Error): number | undefined {
  if (error instanceof ImageError) return ExitCode.BAD_IMAGE;
  if (error instanceof SocketAddressError) {
    return error.code === "BAD_ADDRESS" ? ExitCode.USAGE : ExitCode.UNREACHABLE;
  }
  if (error instanceof DOMException && error.name === "TimeoutError") return ExitCode.UNREACHABLE;
  if (error instanceof SyscallError) {
    if (error.syscall === "open") return ExitCode.BAD_IMAGE;
    return error.syscall === "connect" ? ExitCode.UNREACHABLE : ExitCode.FAILED;
  }
  if (error instanceof UnsupportedPlatformError) return ExitCode.FAILED;
  if (error.name === "DamagedPageError") return ExitCode.BAD_IMAGE; // a thread's, with its name
  return commonExitCodeOf(error);
}

/** What IMAGE may be, for a command's help. */
export const IMAGE_KINDS: string =
  'IMAGE is a captured QEMU stream (migrate "exec:cat > IMAGE"), a file that QEMU 9.0 or later wrote ' +
  "with the capability mapped-ram (migrate file:IMAGE), or a raw memory file with IMAGE.json.";

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
