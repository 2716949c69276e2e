/** What the commands of the source side share: exit codes, and the image they work on. */

import { SyscallError } from "../../ffi/errno.ts";
import { UnsupportedPlatformError } from "../../ffi/platform.ts";
import { SocketAddressError } from "../../ffi/socket_address.ts";
import {
  bytesArgument,
  type Options,
  type OptionValues,
  UsageError,
} from "../../migration/command/arguments.ts";
import { CommonExitCode, commonExitCodeOf } from "../../migration/command/exit_code.ts";
import { ImageError } from "../../image/image_error.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { HandedOverError } from "./hand_over_text.ts";

/** Exit codes of the source side's commands. */
export const ExitCode = {
  ...CommonExitCode,
  BAD_IMAGE: 3,
  UNREACHABLE: 4,
  HANDED_OVER: 5,
} as const;

const BAD_IMAGE: readonly string[] = ["IMAGE_CHANGED", "IMAGE_UNREADABLE"];

/**
 * Returns the exit code for what a command threw, whose message is for the user; undefined for a
 * mistake of this program.
 */
export function exitCodeOf(error: Error): number | undefined {
  if (error instanceof ImageError) return ExitCode.BAD_IMAGE;
  if (error instanceof HandedOverError) return ExitCode.HANDED_OVER;
  if (error instanceof SocketAddressError) {
    return error.code === "BAD_ADDRESS" ? ExitCode.USAGE : ExitCode.UNREACHABLE;
  }
  if (error instanceof DOMException && error.name === "TimeoutError") return ExitCode.UNREACHABLE;
  if (error instanceof SyscallError) {
    if (error.syscall === "open") return ExitCode.BAD_IMAGE;
    return error.syscall === "connect" ? ExitCode.UNREACHABLE : ExitCode.FAILED;
  }
  if (error instanceof UnsupportedPlatformError) return ExitCode.FAILED;
  if (error instanceof MigrationError && BAD_IMAGE.includes(error.code)) return ExitCode.BAD_IMAGE;
  return commonExitCodeOf(error);
}

/** What IMAGE may be, for a command's help. */
export const IMAGE_KINDS: string =
  'IMAGE is a captured QEMU stream (migrate "exec:cat > IMAGE"), a file that QEMU 9.0 or later wrote ' +
  "with the capability mapped-ram (migrate file:IMAGE), both also as libvirt saves them (virsh save), " +
  "or a raw memory file with IMAGE.json.";

/** The options that say which part of a file is the image. */
export const IMAGE_OPTIONS = {
  offset: {
    value: "BYTES",
    help: "where in IMAGE the stream begins (suffix K, M or G), as in migrate file:IMAGE,offset=" +
      "BYTES; not for files of libvirt, which say so themselves",
  },
} as const satisfies Options;

/**
 * Reads where in a file the image is; undefined when nothing was said of it.
 *
 * @throws {UsageError} for no number of bytes
 */
export function offsetArgument({ offset }: OptionValues<typeof IMAGE_OPTIONS>): number | undefined {
  if (offset === undefined) return undefined;
  if (/^0x[\da-f]{1,13}$/i.test(offset)) return Number(offset); // QEMU takes and tells offsets so, too
  return bytesArgument("offset", offset);
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
  const [, file, offset] = /^file:(.+?)(?:,offset=(.*))?$/.exec(image) ?? [];
  if (file !== undefined) {
    const written = offset === undefined ? file : `${file} --offset ${offset}`;
    throw new UsageError(`IMAGE as QEMU's address of a file: ${image}: write ${written}`);
  }
  return image;
}
