/** Walking over a plan: the next page of it that nobody has claimed, and whether it is at hand. */

import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import type { PageLocator } from "../../pages/page_locator.ts";
import { StoredPages } from "../sending/stored_pages.ts";
import type { SendPlan } from "./send_plan.ts";

/** Host pages that a disk is asked for before their turn; they lie anywhere in the image. */
const AHEAD = 256;

/** One thread's walk over a plan, which may still grow. */
export class PlannedPages {
  readonly #plan: SendPlan;
  readonly #layout: RamLayout;
  readonly #dirty: PageBitmap;
  readonly #stored: StoredPages;
  #place = 0;
  /** Places before this were asked for. */
  #asked = 0;
  /** The disk was waited for: what comes next is likely to be there, too. */
  #cold = false;

  /**
   * @param plan the pages
   * @param layout the blocks
   * @param dirty pages that nobody has claimed
   * @param locator where the pages are
   * @param stallTimeout milliseconds after which nothing is waited for any more
   */
  constructor(
    plan: SendPlan,
    layout: RamLayout,
    dirty: PageBitmap,
    locator: PageLocator,
    stallTimeout: number,
  ) {
    this.#plan = plan;
    this.#layout = layout;
    this.#dirty = dirty;
    this.#stored = new StoredPages(locator, stallTimeout);
  }

  /** Passes over the page that was found last. */
  skip(): void {
    this.#place++;
  }

  /**
   * Finds the next page; another thread may claim it meanwhile.
   *
   * @param end places of the plan from here on are left out
   * @returns -1 when there is none
   */
  find(end: number = this.#plan.count): number {
    for (; this.#place < end; this.#place++) {
      const page = this.#plan.at(this.#place);
      if (this.#dirty.has(page)) return page;
    }
    return -1;
  }

  /** Reports whether a page can be located and sent without waiting for a disk. */
  has(page: number): boolean {
    return this.#stored.has(page, this.#endOf(page));
  }

  /**
   * A page is not at hand: has it read, and those planned behind it.
   *
   * @returns nanoseconds after which to look again
   * @throws {MigrationError} `IMAGE_CHANGED`, `IMAGE_UNREADABLE`
   */
  await(page: number): number {
    this.#cold = true;
    this.advance();
    return this.#stored.await(page, this.#endOf(page));
  }

  /** A batch is gathered: keeps the disk busy with what comes behind it, where it is needed at all. */
  advance(): void {
    if (!this.#cold) return;
    this.#asked = Math.max(this.#asked, this.#place);
    const end = Math.min(this.#place + AHEAD, this.#plan.count);
    let any = this.#asked === end;
    for (; this.#asked < end; this.#asked++) {
      const page = this.#plan.at(this.#asked);
      any = this.#stored.request(page, this.#endOf(page)) || any;
    }
    this.#cold = any;
  }

  /** Time has passed since it was looked which pages are at hand. */
  forget(): void {
    this.#stored.forget();
  }

  #endOf(page: number): number {
    if (!this.#layout.hasHugePages) return page + 1;
    const { firstPage, pagesPerHostPage } = this.#layout.blockOf(page);
    const from = (page - firstPage) % pagesPerHostPage;
    return page - from + pagesPerHostPage;
  }
}
