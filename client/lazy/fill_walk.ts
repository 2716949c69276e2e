/** The way of the fill through all pages, from where somebody waited last. */

import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RegionMap } from "./region_map.ts";
import type { RemovalRecord } from "./removal_record.ts";

/** Pages filled in a turn: 64 KiB, 25 us. */
const FILL_PAGES = 16;

/** Finds pages that are neither in place nor removed; what was removed takes no memory again by itself. */
export class FillWalk {
  readonly #map: RegionMap;
  readonly #placed: PageBitmap;
  readonly #record: RemovalRecord;
  #from = 0;

  /**
   * @param placed pages in place
   * @param record pages that were removed
   */
  constructor(map: RegionMap, placed: PageBitmap, record: RemovalRecord) {
    this.#map = map;
    this.#placed = placed;
    this.#record = record;
  }

  /** Goes on from a page: behind what was placed last, next to which more will be wanted. */
  goTo(page: number): void {
    this.#from = page;
  }

  /** The next page, of a huge page its first; -1 when there is none. */
  next(): number {
    const after = this.#missingBetween(this.#from, this.#map.pageCount);
    const page = after >= 0 ? after : this.#missingBetween(0, this.#from);
    return page < 0 ? -1 : this.#map.hostPageOf(page);
  }

  /** The page behind those that one batch may place from one on: nothing in it is in place, or removed. */
  endOf(page: number): number {
    const hostEnd = this.#map.endOfHostPage(page);
    if (hostEnd > page + 1) return hostEnd;
    let end = Math.min(page + FILL_PAGES, this.#map.endOf(this.#map.regionOf(page)));
    const placed = this.#placed.next(page, end);
    if (placed >= 0) end = placed;
    const removed = this.#record.next(page, end);
    return removed >= 0 ? removed : end;
  }

  #missingBetween(from: number, to: number): number {
    for (let page = from; page >= 0 && page < to;) {
      page = this.#placed.nextClear(page, to);
      if (page < 0 || !this.#record.has(page)) return page;
      page = this.#record.nextKept(page, to);
    }
    return -1;
  }
}
