/** What the commands of the destination side share: exit codes, and the threads that decompress. */

import { SyscallError } from "../../ffi/errno.ts";
import { UnsupportedPlatformError } from "../../ffi/platform.ts";
import {
  parseSocketAddress,
  type SocketAddress,
  SocketAddressError,
} from "../../ffi/socket_address.ts";
import { ImageError } from "../../image/image_error.ts";
import { countArgument, UsageError } from "../../migration/command/arguments.ts";
import { CommonExitCode, commonExitCodeOf } from "../../migration/command/exit_code.ts";
import { WorkloadError } from "../../workload/workload_error.ts";
import { checkDecompressThreads, DEFAULT_THREADS } from "../decompression/decompression.ts";
import { checkMultifdChannels } from "../multifd/multifd_channels.ts";

/**
 * Exit codes of the destination side's commands. A migration that failed and memory that is not what it
 * must be are both FAILED.
 */
export const ExitCode = {
  ...CommonExitCode,
  /** The address to listen at cannot be used. */
  CANNOT_LISTEN: 4,
} as const;

/**
 * Returns the exit code for what a command threw, whose message is for the user; undefined for a
 * mistake of this program.
 */
export function exitCodeOf(error: Error): number | undefined {
  if (error instanceof SocketAddressError) {
    return error.code === "BAD_ADDRESS" ? ExitCode.USAGE : ExitCode.CANNOT_LISTEN;
  }
  if (error instanceof SyscallError) {
    return ["bind", "listen"].includes(error.syscall) ? ExitCode.CANNOT_LISTEN : ExitCode.FAILED;
  }
  if (
    error instanceof UnsupportedPlatformError || error instanceof WorkloadError ||
    error instanceof ImageError
  ) {
    return ExitCode.FAILED;
  }
  return commonExitCodeOf(error);
}

/** The option --listen. */
export const LISTEN_OPTION = {
  listen: {
    value: "ADDRESS",
    help: "where: tcp:HOST:PORT (port 0: one that is free) or unix:PATH",
  },
} as const;

/**
 * Reads where to listen.
 *
 * @param text what stands after the flag, if it was given
 * @throws {UsageError} when it was not
 * @throws {SocketAddressError} when it is no address
 */
export function listenArgument(text: string | undefined): SocketAddress {
  if (text === undefined) {
    throw new UsageError("No address given: say where to listen with --listen tcp:HOST:PORT");
  }
  return parseSocketAddress(text);
}

/** The option --multifd. */
export const MULTIFD_OPTION = {
  multifd: {
    value: "N",
    help: "channels of a source that has multifd on: its multifd-channels; default none",
  },
} as const;

/**
 * Reads the number of multifd channels.
 *
 * @param text what stands after the flag, if it was given
 * @throws {UsageError} when there cannot be so many
 */
export function multifdArgument(text: string | undefined): { multifdChannels?: number } {
  if (text === undefined) return {};
  try {
    return { multifdChannels: checkMultifdChannels(countArgument("multifd", text)) };
  } catch (error) {
    throw error instanceof RangeError ? new UsageError(error.message) : error;
  }
}

/** The option --decompress-threads. */
export const DECOMPRESS_OPTION = {
  "decompress-threads": {
    value: "N",
    help: `threads for the pages of a source that compresses; default ${DEFAULT_THREADS}`,
  },
} as const;

/**
 * Reads the number of decompression threads.
 *
 * @param text what stands after the flag, if it was given
 * @throws {UsageError} when there cannot be so many
 */
export function decompressThreadsArgument(text: string | undefined): number {
  if (text === undefined) return DEFAULT_THREADS;
  const threads = countArgument("decompress-threads", text);
  try {
    checkDecompressThreads(threads);
  } catch (error) {
    throw error instanceof RangeError ? new UsageError(error.message) : error;
  }
  return threads;
}
