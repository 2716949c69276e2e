/** Rows of pages at addresses. */

import { BASE_PAGE } from "../region.ts";

/** Addresses in a row that show pages in a row. */
export interface Segment {
  /** First byte. */
  readonly address: number;
  /** How many pages. */
  readonly pages: number;
  /** Number of the first page. */
  readonly firstPage: number;
  /** When it was moved to where it is; 0: it was never. */
  readonly epoch: number;
}

/** Index of the first of sorted segments that ends behind an address: as many as there are when there is none. */
export function indexFrom(segments: readonly Segment[], address: number): number {
  let low = 0;
  let high = segments.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const segment = segments[middle]!;
    if (segment.address + segment.pages * BASE_PAGE <= address) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Takes a range out of segments, which need not be sorted but keep their order.
 *
 * @param first index of the first that is looked at
 * @param sorted whether they are, and no other than the first behind the range is looked at
 * @returns what was in it, in that order
 */
export function cutOut(
  segments: Segment[],
  start: number,
  end: number,
  first = 0,
  sorted = false,
): Segment[] {
  const taken: Segment[] = [];
  for (let index = first; index < segments.length; index++) {
    const { address, pages, firstPage, epoch } = segments[index]!;
    const segmentEnd = address + pages * BASE_PAGE;
    const from = Math.max(address, start);
    const to = Math.min(segmentEnd, end);
    if (from >= to) {
      if (sorted && address >= end) break;
      continue;
    }
    const before = (from - address) / BASE_PAGE;
    const count = (to - from) / BASE_PAGE;
    taken.push({ address: from, pages: count, firstPage: firstPage + before, epoch });
    const left: Segment[] = [];
    if (before > 0) left.push({ address, pages: before, firstPage, epoch });
    if (to < segmentEnd) {
      const behind = (segmentEnd - to) / BASE_PAGE;
      left.push({ address: to, pages: behind, firstPage: firstPage + before + count, epoch });
    }
    segments.splice(index, 1, ...left);
    index += left.length - 1;
  }
  return taken;
}
