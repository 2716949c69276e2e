/** Reading an image ahead of the stream that goes through it. */

import type { PageLocator } from "../../pages/page_locator.ts";
import { LOOK_PAGES, StoredPages } from "./stored_pages.ts";

/** Pages that are asked for before their turn: 16 MiB, what a fast disk or network gives in its latency. */
const AHEAD_PAGES = 4096;
/** Pages that are asked for in one step: twice what one sends, so that others' turns come soon. */
const STEP_PAGES = 512;

/**
 * Tells whether the next page of a walk is at hand, and keeps the disk busy with those behind it. As long as
 * all are found in the page cache, nothing is asked for, and a look takes 0.07 us a page.
 */
export class ReadAhead {
  readonly #stored: StoredPages;
  readonly #limit: number;
  /** Pages from here to there were asked for. */
  #from = 0;
  #asked = 0;
  /** Pages, of those asked for last, that were at hand without. */
  #warm = AHEAD_PAGES;

  /**
   * @param locator where the pages are
   * @param limit page numbers are below it
   * @param stallTimeout milliseconds after which a page is read as it is, should it never be at hand
   */
  constructor(locator: PageLocator, limit: number, stallTimeout: number) {
    this.#stored = new StoredPages(locator, stallTimeout);
    this.#limit = limit;
  }

  /** Reports whether a page can be located and sent without waiting for a disk. */
  has(page: number): boolean {
    return this.#stored.has(page, this.#limit);
  }

  /** Forgets which pages were at hand: that was a while ago. */
  forget(): void {
    this.#stored.forget();
  }

  /**
   * A page is not at hand: has it read, and those behind it.
   *
   * @returns nanoseconds after which to look again
   * @throws {MigrationError} see {@linkcode StoredPages.await}
   */
  await(page: number): number {
    this.#warm = 0;
    this.advance(page);
    return this.#stored.await(page, Math.min(page + LOOK_PAGES, this.#limit));
  }

  /** The walk has come to this page: keeps what is asked for ahead of it, while the disk is needed at all. */
  advance(page: number): void {
    if (this.#warm >= AHEAD_PAGES) return;
    if (page < this.#from || page > this.#asked) this.#asked = page; // it has jumped
    this.#from = page;
    const end = Math.min(page + AHEAD_PAGES, this.#asked + STEP_PAGES, this.#limit);
    for (; this.#asked < end; this.#asked += LOOK_PAGES) {
      const cold = this.#stored.request(this.#asked, Math.min(this.#asked + LOOK_PAGES, end));
      this.#warm = cold ? 0 : this.#warm + LOOK_PAGES;
    }
  }
}
