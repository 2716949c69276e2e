/** What the layout of RAM records depends on. */

import { DEFAULT_TARGET_PAGE_SIZE, TARGET_PAGE_BITS } from "./constants.ts";

/** What decides how RAM records are laid out; it comes from the configuration. */
export interface RecordFormat {
  /** Bytes of a page record's payload; the bits below it are a record's flags. */
  readonly targetPageSize: number;
  /** Block entries hold guest physical addresses. */
  readonly ignoreShared: boolean;
  /** Block entries hold a mapped-ram header and are followed by the block's region. */
  readonly mappedRam: boolean;
}

/**
 * The format for a target page size and capabilities.
 *
 * @throws {RangeError} When no QEMU target has pages of that size.
 */
export function recordFormat(
  targetPageSize: number = DEFAULT_TARGET_PAGE_SIZE,
  ignoreShared = false,
  mappedRam = false,
): RecordFormat {
  const bits = Math.log2(targetPageSize);
  if (!Number.isInteger(bits) || bits < TARGET_PAGE_BITS.MIN || bits > TARGET_PAGE_BITS.MAX) {
    throw new RangeError(
      `Cannot use a target page size other than a power of two from 1024 to 65536: ${targetPageSize}`,
    );
  }
  return { targetPageSize, ignoreShared, mappedRam };
}
