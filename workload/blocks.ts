/** The RAM blocks of a workload guest. */

import type { GuestBlock } from "../migration/memory/guest_block.ts";
import { PATTERN_PAGE_BYTES } from "./test_pattern.ts";
import type { PageRange } from "./guest_pages.ts";
import type { CountRange } from "./shared_pages.ts";
import { WorkloadError } from "./workload_error.ts";

/** The block with the counts of writes of a live workload. */
export const COUNT_BLOCK = "writes";
const DATA_BLOCK = "ram";

/**
 * Returns the blocks that a live workload needs: its pages, and a count of writes for each page, which
 * moves with them.
 *
 * @param size bytes of the pages
 * @param pageSize bytes of a host page
 * @throws {RangeError} when the size is no positive multiple of the host page
 */
export function liveBlockSizes(
  size: number,
  pageSize: number,
): { readonly name: string; readonly length: number }[] {
  if (!Number.isSafeInteger(size) || size <= 0 || size % pageSize !== 0) {
    throw new RangeError(`Size is no positive multiple of ${pageSize}: ${size}`);
  }
  const counts = size / PATTERN_PAGE_BYTES * 4;
  return [
    { name: DATA_BLOCK, length: size },
    { name: COUNT_BLOCK, length: Math.ceil(counts / pageSize) * pageSize },
  ];
}

/** A workload guest's memory by what lies there. */
export interface WorkloadBlocks {
  /** The pages of the pattern. */
  readonly ranges: readonly PageRange[];
  /** How many they are. */
  readonly pages: number;
  /** The counts of writes, if they are in a block. */
  readonly counts: CountRange | undefined;
}

/**
 * Tells the blocks apart.
 *
 * @param blocks all of the guest's
 * @param countBlock name of the block that holds the counts; undefined when none does
 * @throws {WorkloadError} `WRONG_MEMORY` when there is no such block, or it is too small
 */
export function tellBlocks(
  blocks: readonly Pick<GuestBlock, "name" | "address" | "length">[],
  countBlock: string | undefined,
): WorkloadBlocks {
  const ranges = blocks.filter(({ name }) => name !== countBlock).map(({ address, length }) => ({
    address,
    pages: length / PATTERN_PAGE_BYTES,
  }));
  const pages = ranges.reduce((sum, range) => sum + range.pages, 0);
  if (countBlock === undefined) return { ranges, pages, counts: undefined };
  const block = blocks.find(({ name }) => name === countBlock);
  if (block === undefined || block.length < pages * 4 || pages === 0) {
    const names = blocks.map(({ name, length }) => `${name} (${length} bytes)`).join(", ");
    throw new WorkloadError(
      "WRONG_MEMORY",
      `Live workload guest came without room for its counts of writes in the block ${countBlock}: ${
        names || "no blocks"
      }`,
    );
  }
  return { ranges, pages, counts: { address: block.address, length: block.length } };
}
