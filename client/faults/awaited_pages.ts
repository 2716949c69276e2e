/** Whether pages that were asked for have not come yet. */

import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";

/** Looks for pages that are awaited, from where one was found the last time. */
export class AwaitedPages {
  readonly #received: PageBitmap;
  readonly #requested: PageBitmap;
  #from = 0;

  /**
   * @param received pages in place
   * @param requested pages asked for
   */
  constructor(received: PageBitmap, requested: PageBitmap) {
    this.#received = received;
    this.#requested = requested;
  }

  /** True while a page that was asked for is not in place. */
  get any(): boolean {
    // From where it found one the last time: those before have come, for the most part.
    const from = this.#from;
    return this.#find(from, this.#requested.length) || this.#find(0, from);
  }

  #find(start: number, end: number): boolean {
    for (let page = this.#requested.next(start, end); page >= 0;) {
      if (!this.#received.has(page)) {
        this.#from = page;
        return true;
      }
      page = this.#requested.next(page + 1, end);
    }
    return false;
  }
}
