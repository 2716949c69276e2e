/** The way through all pages of a process that are missing, from where somebody waited last. */

import type { PageBitmap } from "../../../migration/memory/page_bitmap.ts";
import { BASE_PAGE } from "../region.ts";
import type { AddressMap } from "./address_map.ts";

/** Finds pages that have an address and are neither in place nor on their way. Looking allocates nothing. */
export class MissingPages {
  readonly #map: AddressMap;
  readonly #placed: PageBitmap;
  readonly #asked: PageBitmap;
  #from = 0;
  #page = -1;
  #address = -1;
  #end = -1;

  constructor(map: AddressMap, placed: PageBitmap, asked: PageBitmap) {
    this.#map = map;
    this.#placed = placed;
    this.#asked = asked;
  }

  /** The page that was found. */
  get page(): number {
    return this.#page;
  }

  /** Its address. */
  get address(): number {
    return this.#address;
  }

  /** The page behind those that are missing from it on, one behind the other in the process too. */
  get end(): number {
    return this.#end;
  }

  /** Goes on from an address. */
  goTo(address: number): void {
    this.#from = address;
  }

  /** Finds the next; false when there is none. */
  seek(): boolean {
    return this.#seekBetween(this.#from, Infinity) || this.#seekBetween(0, this.#from);
  }

  #seekBetween(start: number, end: number): boolean {
    const segments = this.#map.segments;
    for (let index = this.#map.from(start); index < segments.length; index++) {
      const segment = segments[index]!;
      if (segment.address >= end) return false;
      const skipped = Math.max(0, Math.floor((start - segment.address) / BASE_PAGE));
      const last = segment.firstPage + segment.pages;
      const page = this.#missingFrom(segment.firstPage + skipped, last);
      if (page < 0) continue;
      this.#page = page;
      this.#address = segment.address + (page - segment.firstPage) * BASE_PAGE;
      this.#end = this.#endFrom(page, last);
      return true;
    }
    return false;
  }

  #missingFrom(from: number, to: number): number {
    for (let page = from; page >= 0 && page < to;) {
      page = this.#placed.nextClear(page, to);
      if (page < 0 || !this.#asked.has(page)) return page;
      page = this.#asked.nextClear(page, to);
    }
    return -1;
  }

  #endFrom(page: number, to: number): number {
    const placed = this.#placed.next(page, to);
    const end = placed < 0 ? to : placed;
    const asked = this.#asked.next(page, end);
    return asked < 0 ? end : asked;
  }
}
