/** The way of the fill through what was touched first in restores before. */

import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { BASE_PAGE } from "./region.ts";
import type { RegionMap } from "./region_map.ts";
import type { RemovalRecord } from "./removal_record.ts";

/** Finds pages of a list that are neither in place nor removed. */
export class PlannedWalk {
  readonly #map: RegionMap;
  readonly #placed: PageBitmap;
  readonly #record: RemovalRecord;
  readonly #pages: Int32Array;
  #at = 0;

  /**
   * @param placed pages in place
   * @param record pages that were removed
   * @param plan shared memory of pages of the memory, in their order
   */
  constructor(
    map: RegionMap,
    placed: PageBitmap,
    record: RemovalRecord,
    plan: SharedArrayBuffer,
  ) {
    this.#map = map;
    this.#placed = placed;
    this.#record = record;
    this.#pages = new Int32Array(plan);
  }

  /** The next page, of a huge page its first; -1 when there is none. */
  next(): number {
    for (; this.#at < this.#pages.length; this.#at++) {
      const page = this.#map.pageOfOffset(this.#pages[this.#at]! * BASE_PAGE);
      if (page < 0 || this.#placed.has(page) || this.#record.has(page)) continue;
      return this.#map.hostPageOf(page);
    }
    return -1;
  }

  /** The page behind those from the last one on that the list has in a row, and no further than another. */
  endOf(page: number, end: number): number {
    const hostEnd = this.#map.endOfHostPage(page);
    if (hostEnd > page + 1) return hostEnd;
    const first = this.#pages[this.#at]!;
    let count = 1;
    while (page + count < end && this.#pages[this.#at + count] === first + count) count++;
    return page + count;
  }
}
