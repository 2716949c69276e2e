/** Claiming pages for a channel: by host page, and each host page whole. */

import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";

/**
 * What one channel has claimed and still has to send. A destination places a host page as a whole, so
 * all of its target pages go on one channel with nothing between them (docs/protocol.md section 3):
 * whoever clears the dirty bit of the first owns all. Within a host page all bits are set or none is,
 * since the dirty bitmap is rounded to host pages before the switchover. One thread's own; the bitmap
 * is shared by all of them.
 */
export class HostPageClaims {
  readonly #layout: RamLayout;
  readonly #dirty: PageBitmap;
  // A layout of ordinary pages alone is not asked for the block of every page.
  readonly #huge: boolean;
  #first = 0;
  #next = 0;
  #end = 0;
  #behind = 0;

  /**
   * @param layout the blocks
   * @param dirty the pages that nobody has claimed
   */
  constructor(layout: RamLayout, dirty: PageBitmap) {
    this.#layout = layout;
    this.#dirty = dirty;
    this.#huge = layout.hasHugePages;
  }

  /** True while pages of the host page claimed last are to be sent: until then nothing else may be. */
  get begun(): boolean {
    return this.#next < this.#end;
  }

  /** The next page to send of the host page that is begun. */
  get next(): number {
    return this.#next;
  }

  /** The page behind the host page that was claimed last. */
  get end(): number {
    return this.#end;
  }

  /** The page behind the host page that was tried last, claimed or not. */
  get behind(): number {
    return this.#behind;
  }

  /** Reports whether a page is in the host page that is begun. */
  holds(page: number): boolean {
    return this.begun && page >= this.#first && page < this.#end;
  }

  /**
   * Claims the host page that a page is in; nothing may be begun.
   *
   * @returns false when it was claimed before: it is sent, or on its way on whatever channel
   */
  claim(page: number): boolean {
    let first = page;
    let pages = 1;
    if (this.#huge) {
      const block = this.#layout.blockOf(page);
      pages = block.pagesPerHostPage;
      first -= (page - block.firstPage) % pages;
    }
    this.#behind = first + pages;
    if (!this.#dirty.take(first)) return false;
    if (pages > 1) this.#dirty.clear(first + 1, pages - 1);
    this.#first = first;
    this.#next = first;
    this.#end = first + pages;
    return true;
  }

  /** Returns the next page to send of the host page that is begun. */
  take(): number {
    return this.#next++;
  }
}
