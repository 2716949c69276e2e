/** The host pages that a migration sends first, in shared memory, and what becomes of them. */

import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import { SharedLayout } from "../../migration/threads/shared_layout.ts";
import { MOST_ORDERED } from "../../image/order/order_list.ts";
import { numberRun, type PageRun } from "./page_run.ts";

const layout = new SharedLayout();
/** Written by whoever makes the plan, before a page of it is sent or while others are. */
const { COUNT, EARLY } = layout.words("COUNT", "EARLY");
/** Written by the thread that sends the main channel. */
const { WARM, WARM_PAGES } = layout.words("WARM", "WARM_PAGES");
/** Written by the thread that hears requests. */
const { LATE_PAGES } = layout.words("LATE_PAGES");

/**
 * A list of host pages, each by its first target page. One thread adds to it; others read it meanwhile, for a
 * page that is not there yet is only sent in its turn.
 */
export class SendPlan {
  /** The shared memory behind it. */
  readonly buffer: SharedArrayBuffer;
  readonly #layout: RamLayout;
  readonly #words: Int32Array;
  readonly #pages: Int32Array;
  /** Its pages, until they are asked for. */
  readonly #unasked: PageBitmap;
  /** Its pages, for whoever adds to it. */
  #planned: PageBitmap | undefined;

  /**
   * @param ram the blocks; a huge page is one host page
   * @param buffer shared memory of another thread's plan; without it, a new one without pages
   */
  constructor(ram: RamLayout, buffer?: SharedArrayBuffer) {
    const capacity = Math.min(MOST_ORDERED, ram.pageLimit);
    const pagesAt = layout.bytes + ram.pageLimit / 8;
    this.buffer = buffer ?? new SharedArrayBuffer(pagesAt + capacity * 4);
    this.#layout = ram;
    this.#words = new Int32Array(this.buffer, 0, layout.bytes / 4);
    this.#unasked = new PageBitmap(ram.pageLimit, this.buffer, layout.bytes);
    this.#pages = new Int32Array(this.buffer, pagesAt, capacity);
  }

  /**
   * Makes a plan of what a caller wants.
   *
   * @throws {RangeError} for pages that are not in the layout
   */
  static of(ram: RamLayout, order: Iterable<PageRun>): SendPlan {
    const plan = new SendPlan(ram);
    let isEarly = true;
    for (const run of order) {
      const { first, count, early } = numberRun(ram, run);
      if (!early && isEarly) plan.endEarly();
      isEarly &&= early;
      const { firstPage, pagesPerHostPage } = ram.blockOf(first);
      const from = first - (first - firstPage) % pagesPerHostPage;
      for (let page = from; page < first + count; page += pagesPerHostPage) plan.add(page);
    }
    if (isEarly) plan.endEarly();
    return plan;
  }

  /** Adds the host page that begins with a page, unless it is there, or there is no room. */
  add(page: number): void {
    const { count } = this;
    this.#planned ??= new PageBitmap(this.#layout.pageLimit);
    if (count === this.#pages.length || !this.#planned.add(page)) return;
    this.#unasked.add(page);
    this.#pages[count] = page;
    Atomics.store(this.#words, COUNT, count + 1);
  }

  /** What is added from now on may not be sent before the guest runs. */
  endEarly(): void {
    Atomics.store(this.#words, EARLY, this.count);
  }

  /** Host pages in it. */
  get count(): number {
    return Atomics.load(this.#words, COUNT);
  }

  /** How many of them, in front, may be sent before the guest runs. */
  get early(): number {
    return Atomics.load(this.#words, EARLY);
  }

  /** The first target page of the host page in a place, which must be below {@linkcode SendPlan.count}. */
  at(place: number): number {
    return this.#pages[place]!;
  }

  /** The next host page is dealt with before the guest runs: sent, of so many target pages, or needs not be. */
  addWarm(pages: number): void {
    Atomics.add(this.#words, WARM, 1);
    Atomics.add(this.#words, WARM_PAGES, pages);
  }

  /** Host pages, from the front, that were dealt with before the guest ran. */
  get warm(): number {
    return Atomics.load(this.#words, WARM);
  }

  /** Target pages that were sent before the guest ran. */
  get warmPages(): number {
    return Atomics.load(this.#words, WARM_PAGES);
  }

  /** The host page that begins with a page is asked for: counted once if it was planned. */
  noteRequest(page: number): void {
    if (!this.#unasked.take(page)) return;
    Atomics.add(this.#words, LATE_PAGES, this.#layout.blockOf(page).pagesPerHostPage);
  }

  /** Target pages of the plan that were asked for all the same. */
  get latePages(): number {
    return Atomics.load(this.#words, LATE_PAGES);
  }

  /** Target pages of the plan. */
  get pages(): number {
    if (!this.#layout.hasHugePages) return this.count;
    let pages = 0;
    for (let place = 0; place < this.count; place++) {
      pages += this.#layout.blockOf(this.at(place)).pagesPerHostPage;
    }
    return pages;
  }
}
