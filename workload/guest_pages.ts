/** A guest's memory as the pattern numbers it: pages counted through all RAM blocks. */

import { viewMemory } from "../ffi/memory.ts";
import { PATTERN_PAGE_BYTES, PATTERN_PAGE_WORDS } from "./test_pattern.ts";

/** Where a RAM block lies; may be posted to a worker. */
export interface PageRange {
  /** Address of the first byte. */
  readonly address: number;
  /** Pages in the block. */
  readonly pages: number;
}

/**
 * One thread's view of a guest's pages. The memory must stay mapped while it is used. What is
 * touched here may wait for its page, for as long as it takes.
 */
export class GuestPages {
  /** Pages in all ranges. */
  readonly count: number;
  /** The words of the range that holds the page last located. */
  words: Int32Array;
  /** Index in `words` of that page's first word. */
  start = 0;

  readonly #views: Int32Array[] = [];
  readonly #firstPages: number[] = [];

  /** @param ranges the guest's blocks in their order, at least one */
  constructor(ranges: readonly PageRange[]) {
    let count = 0;
    for (const { address, pages } of ranges) {
      const bytes = viewMemory(address, pages * PATTERN_PAGE_BYTES);
      this.#views.push(new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4));
      this.#firstPages.push(count);
      count += pages;
    }
    this.count = count;
    this.words = this.#views[0]!;
  }

  /**
   * Finds a page: sets {@linkcode GuestPages.words} and {@linkcode GuestPages.start} without
   * touching the page.
   *
   * @param page below {@linkcode GuestPages.count}
   */
  locate(page: number): void {
    const firstPages = this.#firstPages;
    let range = firstPages.length - 1;
    while (firstPages[range]! > page) range--;
    this.words = this.#views[range]!;
    this.start = (page - firstPages[range]!) * PATTERN_PAGE_WORDS;
  }
}
