/** The flag --decompress-threads. */

import { countArgument, UsageError } from "../../migration/command/arguments.ts";
import { checkDecompressThreads, DEFAULT_THREADS } from "../decompression/decompression.ts";

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
