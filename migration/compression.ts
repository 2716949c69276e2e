/** What the two ends agree on about compressed pages: methods, levels, and the memory of a page's slot. */

/** How pages are compressed: zlib is QEMU's own (RFC 1950), zstd (RFC 8878) is spoken between our ends. */
export type CompressionMethod = "zlib" | "zstd";

/** The methods, for a command line. */
export const COMPRESSION_METHODS: readonly CompressionMethod[] = ["zlib", "zstd"];

/** The levels that each method takes, both ends included. */
export interface CompressionLevels {
  /** The lowest: zlib's 0 stores, zstd's negative ones trade size for speed. */
  readonly least: number;
  /** The highest. */
  readonly most: number;
  /** What is taken when none is said. */
  readonly default: number;
}

/** Levels by method; 1 is QEMU's default as well. */
export const COMPRESSION_LEVELS: Readonly<Record<CompressionMethod, CompressionLevels>> = {
  zlib: { least: 0, most: 9, default: 1 },
  zstd: { least: -7, most: 19, default: 1 },
};

/** Bytes of a page that is compressed. */
export const COMPRESSIBLE_PAGE_BYTES = 4096;

/**
 * Bytes kept for a page's compressed form. Every library's worst case (below 4200 bytes) fits, and the
 * longest payload that the decoder believes (maxCompressedBytes), with room behind.
 */
export const PACKED_BYTES = 8192;

/** Bytes of a slot: the page, and behind it its compressed form. */
export const SLOT_BYTES: number = COMPRESSIBLE_PAGE_BYTES + PACKED_BYTES;

/**
 * Checks a compression level.
 *
 * @throws {RangeError} when the method has no such level
 *
 * @example
 * ```ts
 * import { assertThrows } from "@std/assert";
 * import { checkCompressionLevel } from "./compression.ts";
 *
 * checkCompressionLevel("zstd", -7);
 * assertThrows(() => checkCompressionLevel("zlib", 10), RangeError, "from 0 to 9: 10");
 * ```
 */
export function checkCompressionLevel(method: CompressionMethod, level: number): void {
  const { least, most } = COMPRESSION_LEVELS[method];
  if (Number.isInteger(level) && level >= least && level <= most) return;
  throw new RangeError(
    `Compression level of ${method} must be a whole number from ${least} to ${most}: ${level}`,
  );
}
