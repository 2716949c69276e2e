/** The order in which the background stream sends pages. */

import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { PageLocator } from "../../pages/page_locator.ts";
import type { PlannedPages } from "../order/planned_pages.ts";
import { ReadAhead } from "./read_ahead.ts";

/**
 * Walks over the pages that nobody has claimed: those of a plan first, the others as they lie. Of the others
 * those that the image does not hold, since they were never in its stream or file, are passed over at first: to
 * send their zeros would make them exist at the other end.
 *
 * They stay unclaimed, for whoever asks for one is answered; so a second bitmap says which they are, which all
 * of an image's sessions share, and a look takes a word of each for 32 pages. To ask the image for every page
 * instead would take 0.5 ms for each GiB that it lacks, each time that the walk goes by.
 */
export class PageWalk {
  readonly #dirty: PageBitmap;
  readonly #ahead: ReadAhead;
  readonly #planned: PlannedPages | undefined;
  #present: PageBitmap | undefined;
  #cursor = 0;
  #next = 0;
  /** The page found last is of the plan. */
  #isPlanned = false;

  /**
   * @param dirty the pages that nobody has claimed
   * @param present shared memory of the bitmap of pages that the image holds; undefined: all of them
   * @param locator where the pages are
   * @param stallTimeout milliseconds after which nothing is waited for any more
   * @param planned pages that go first
   */
  constructor(
    dirty: PageBitmap,
    present: SharedArrayBuffer | undefined,
    locator: PageLocator,
    stallTimeout: number,
    planned?: PlannedPages,
  ) {
    this.#planned = planned;
    this.#dirty = dirty;
    this.#present = present && new PageBitmap(dirty.length, present);
    this.#ahead = new ReadAhead(locator, dirty.length, stallTimeout);
  }

  /** Pages that are left, without those that it passes over. */
  get count(): number {
    return this.#present === undefined ? this.#dirty.count() : this.#dirty.countIn(this.#present);
  }

  /** Whether it passes over pages, and there may be some. */
  get passesOver(): boolean {
    return this.#present !== undefined;
  }

  /** From now on it passes over none. */
  takeAll(): void {
    this.#present = undefined;
  }

  /** It goes on at this page. */
  goTo(page: number): void {
    this.#cursor = page;
  }

  /** Finds the next page; -1 when there is none left. Another thread may claim it meanwhile. */
  find(): number {
    const planned = this.#planned?.find() ?? -1;
    this.#isPlanned = planned >= 0;
    if (planned >= 0) return planned;
    const page = this.#find(this.#cursor);
    return page < 0 ? this.#find(0) : page;
  }

  /** Reports whether a page, which is sent next, can be located and sent without waiting for a disk. */
  atHand(page: number): boolean {
    this.#next = page;
    return this.#isPlanned ? this.#planned!.has(page) : this.#ahead.has(page);
  }

  /**
   * The page looked at last is not at hand: has it read, and what comes behind it.
   *
   * @returns nanoseconds after which to look again
   * @throws {MigrationError} `IMAGE_CHANGED`, `IMAGE_UNREADABLE`
   */
  await(): number {
    return this.#isPlanned ? this.#planned!.await(this.#next) : this.#ahead.await(this.#next);
  }

  /** A batch is gathered: keeps the disk busy with what comes behind it. */
  advance(): void {
    if (this.#isPlanned) this.#planned!.advance();
    else this.#ahead.advance(this.#cursor);
  }

  /** Time has passed since it was looked which pages are at hand. */
  forget(): void {
    this.#ahead.forget();
    this.#planned?.forget();
  }

  #find(from: number): number {
    const present = this.#present;
    return present === undefined ? this.#dirty.next(from) : this.#dirty.nextIn(present, from);
  }
}
