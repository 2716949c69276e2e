/** The way of the fill through what a process touched first when it was restored before. */

import type { PageBitmap } from "../../../migration/memory/page_bitmap.ts";
import { BASE_PAGE } from "../region.ts";
import type { AddressMap } from "./address_map.ts";

/** Finds pages of a list that have an address and are neither in place nor on their way. */
export class PlannedPages {
  readonly #map: AddressMap;
  readonly #placed: PageBitmap;
  readonly #asked: PageBitmap;
  readonly #pages: Int32Array;
  #at = 0;
  #page = -1;
  #address = -1;
  #end = -1;

  /** @param plan shared memory of the process's pages, in their order */
  constructor(map: AddressMap, placed: PageBitmap, asked: PageBitmap, plan: SharedArrayBuffer) {
    this.#map = map;
    this.#placed = placed;
    this.#asked = asked;
    this.#pages = new Int32Array(plan);
  }

  /** The page that was found. */
  get page(): number {
    return this.#page;
  }

  /** Its address. */
  get address(): number {
    return this.#address;
  }

  /** The page behind those that the list has in a row from it on, one behind the other in the process too. */
  get end(): number {
    return this.#end;
  }

  /** Finds the next; false when there is none. */
  seek(): boolean {
    for (; this.#at < this.#pages.length; this.#at++) {
      const page = this.#pages[this.#at]!;
      if (!this.#isMissing(page)) continue;
      const address = this.#map.addressOf(page);
      if (address < 0) continue; // it was removed
      this.#page = page;
      this.#address = address;
      this.#end = this.#endFrom(page, address);
      return true;
    }
    return false;
  }

  #endFrom(page: number, address: number): number {
    const segment = this.#map.segments[this.#map.find(address)]!;
    const last = page + segment.pages - (address - segment.address) / BASE_PAGE;
    let end = page + 1;
    while (
      end < last && this.#pages[this.#at + end - page] === end && this.#isMissing(end)
    ) end++;
    return end;
  }

  #isMissing(page: number): boolean {
    return !this.#placed.has(page) && !this.#asked.has(page);
  }
}
