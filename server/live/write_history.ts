/** Which pages a guest wrote lately, and how often: those it is most likely to need first elsewhere. */

import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import type { Steps } from "../../migration/threads/task.ts";
import type { SendPlan } from "../order/send_plan.ts";

/** Rounds that are remembered of a page: bits of a byte, the last one highest. */
const ROUNDS = 8;
const HEATS = 1 << ROUNDS;
/** Pages between two turns of others: 2 ms. */
const AT_ONCE = 1 << 16;

/**
 * The rounds of a precopy in which each page was written, as far as they are not long ago. A page's bits are looked
 * at only when it was written, so that a round costs nothing for the others: 2 bytes a page, and 20 ns for each
 * that was written.
 */
export class WriteHistory {
  readonly #written: Uint8Array;
  /** The last round in which a page was written, modulo 256. */
  readonly #last: Uint8Array;
  #round = 0;

  /** @param pageLimit page numbers are below it */
  constructor(pageLimit: number) {
    this.#written = new Uint8Array(pageLimit);
    this.#last = new Uint8Array(pageLimit);
  }

  /**
   * Notes a round.
   *
   * @param dirty pages to be sent
   * @param sent of these, pages that the destination has in some version: they were written since
   */
  *noting(dirty: PageBitmap, sent: PageBitmap): Steps {
    this.#round++;
    let count = 0;
    for (let page = dirty.nextIn(sent, 0); page >= 0;) {
      this.#written[page] = (this.#written[page]! >>> this.#age(page)) | (HEATS >>> 1);
      this.#last[page] = this.#round;
      page = page + 1 < dirty.length ? dirty.nextIn(sent, page + 1) : -1;
      if (++count % AT_ONCE === 0) yield;
    }
  }

  /** How hot a page is, 0 to 255: the more lately it was written, then the more often. */
  heatOf(page: number): number {
    return this.#written[page]! >>> this.#age(page);
  }

  /**
   * Plans the pages that are to be sent and were written, the hottest first, and of those that are equally hot
   * the lowest.
   *
   * @param layout the blocks
   * @param dirty pages to be sent; others may take some meanwhile
   * @param plan takes them
   */
  *planning(layout: RamLayout, dirty: PageBitmap, plan: SendPlan): Steps {
    const starts = new Uint32Array(HEATS + 1);
    let looked = 0;
    for (let page = dirty.next(0); page >= 0;) {
      starts[HEATS - this.heatOf(page)]!++;
      page = page + 1 < dirty.length ? dirty.next(page + 1) : -1;
      if (++looked % AT_ONCE === 0) yield;
    }
    let total = 0;
    for (let place = 0; place < HEATS; place++) {
      const count = starts[place]!;
      starts[place] = total;
      total += count;
    }
    // The last place is of those that were not written.
    const order = new Int32Array(total);
    for (let page = dirty.next(0); page >= 0;) {
      const place = HEATS - this.heatOf(page);
      if (place < HEATS && starts[place]! < total) order[starts[place]!++] = page + 1;
      page = page + 1 < dirty.length ? dirty.next(page + 1) : -1;
      if (++looked % AT_ONCE === 0) yield;
    }
    for (const next of order) {
      // Where pages were taken since they were counted, nothing was put.
      if (next > 0) plan.add(hostPageOf(layout, next - 1));
      if (++looked % AT_ONCE === 0) yield;
    }
  }

  #age(page: number): number {
    return Math.min(ROUNDS, (this.#round - this.#last[page]!) & 0xff);
  }
}

function hostPageOf(layout: RamLayout, page: number): number {
  if (!layout.hasHugePages) return page;
  const { firstPage, pagesPerHostPage } = layout.blockOf(page);
  return page - (page - firstPage) % pagesPerHostPage;
}
