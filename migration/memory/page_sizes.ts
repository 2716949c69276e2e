/** Sizes of host pages, as both ends of a migration speak of them. */

import type { RamBlockSize } from "./ram_layout.ts";

/** Bytes of the largest host page: a request's length is 32 bits long, and no larger one than 1 GiB was tried. */
export const LARGEST_HOST_PAGE: number = 2 ** 30;

/**
 * Returns the OR of the host page sizes of all blocks, which QEMU compares with its own, exactly. It may have more
 * than 32 bits.
 *
 * @param blocks whose pages are of the target's size unless they say another
 * @param targetPageSize bytes
 */
export function pageSizeSummary(
  blocks: readonly Pick<RamBlockSize, "pageSize">[],
  targetPageSize: number,
): number {
  const sizes = new Set(blocks.map(({ pageSize = targetPageSize }) => pageSize));
  return [...sizes].reduce((sum, size) => sum + size, 0); // powers of two, each once
}
