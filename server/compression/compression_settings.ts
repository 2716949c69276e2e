/** How a source compresses its pages, as its user says it. */

import {
  checkCompressionLevel,
  COMPRESSION_LEVELS,
  type CompressionMethod,
} from "../../migration/compression.ts";

/** How to compress what the main channel brings; pages that are asked for are never compressed. */
export interface CompressionOptions {
  /** zlib is what QEMU up to 9.0 takes with its capability `compress`; zstd is for our destination alone. */
  readonly method: CompressionMethod;
  /** 0 to 9 for zlib, -7 to 19 for zstd; default 1. */
  readonly level?: number;
  /**
   * Threads that compress for this migration at most, 1 to 255; default 8, as QEMU's. They are shared by
   * all migrations of a pool, which has one a processor: with fewer than were asked for, four pages for
   * each that was asked for are on their way all the same.
   */
  readonly threads?: number;
  /** Whether a page waits when all threads are busy; else it is sent as it is. Default true, as QEMU's. */
  readonly wait?: boolean;
}

/** The same, complete. */
export type CompressionSettings = Required<CompressionOptions>;

const DEFAULT_THREADS = 8;
/** QEMU's limit too. */
const MOST_THREADS = 255;

/**
 * Completes and checks what a user said.
 *
 * @throws {RangeError} for a level that the method does not have, or a number of threads that cannot be
 */
export function compressionSettings(options: CompressionOptions): CompressionSettings {
  const { method } = options;
  const { level = COMPRESSION_LEVELS[method].default, threads = DEFAULT_THREADS } = options;
  checkCompressionLevel(method, level);
  if (!(Number.isInteger(threads) && threads >= 1 && threads <= MOST_THREADS)) {
    throw new RangeError(`Compression threads must be from 1 to ${MOST_THREADS}: ${threads}`);
  }
  return { method, level, threads, wait: options.wait ?? true };
}
