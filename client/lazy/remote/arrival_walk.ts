/** The way of the fill through a remote image: in the order in which its pages come. */

import type { PageBitmap } from "../../../migration/memory/page_bitmap.ts";
import type { RegionMap } from "../region_map.ts";
import type { RemovalRecord } from "../removal_record.ts";
import { BASE_PAGE } from "../region.ts";
import type { ArrivingMemory } from "./arriving_memory.ts";

/** Finds pages that have come and are neither in place nor removed. */
export class ArrivalWalk {
  readonly #map: RegionMap;
  readonly #placed: PageBitmap;
  readonly #record: RemovalRecord;
  readonly #memory: ArrivingMemory;
  /** How many of those that came need not be looked at again. */
  #passed = 0;

  /**
   * @param placed pages in place
   * @param record pages that were removed
   */
  constructor(
    map: RegionMap,
    placed: PageBitmap,
    record: RemovalRecord,
    memory: ArrivingMemory,
  ) {
    this.#map = map;
    this.#placed = placed;
    this.#record = record;
    this.#memory = memory;
  }

  /** The next page, of a huge page its first; -1 when there is none: the session is woken when there is. */
  next(): number {
    const page = this.#search();
    if (page >= 0) return page;
    this.#memory.wait();
    return this.#search();
  }

  /** The page behind those from one on that have come, and no further than another. */
  endOf(page: number, end: number): number {
    const length = (end - page) * BASE_PAGE;
    return page + this.#memory.arrivedFrom(this.#map.offsetOf(page), length) / BASE_PAGE;
  }

  #search(): number {
    const memory = this.#memory;
    for (const { arrived } = memory; this.#passed < arrived; this.#passed++) {
      const page = this.#map.pageOfOffset(memory.offsetOfArrival(this.#passed));
      if (page < 0 || this.#placed.has(page) || this.#record.has(page)) continue;
      const first = this.#map.hostPageOf(page);
      const end = this.#map.endOfHostPage(first);
      // Of a huge page the one that comes last finds all of them.
      if (this.endOf(first, end) === end) return first;
    }
    return -1;
  }
}
