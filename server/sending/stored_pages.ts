/** Waiting for an image's disk without a thread: other sessions need it meanwhile. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { Residency } from "../../ffi/residency.ts";
import type { PageLocator } from "../../pages/page_locator.ts";

/** Target pages that are looked at together: of a huge page as many as go into an answer. */
export const LOOK_PAGES = 64;
/** Nanoseconds between two looks, at first and at most; in between, a quarter of the time waited. */
const SHORTEST_INTERVAL = 50e3;
const LONGEST_INTERVAL = 1e6;
/**
 * Nanoseconds after which the kernel is not asked to read ahead any more, which it may do or not, but a
 * thread reads. Most disks have answered long before.
 */
const ADVICE_PATIENCE = 50e6;
/** A page that is there so soon after that could have been read at once. */
const AT_ONCE = 2e6;
/** After so many of those, or that never came, nothing is asked any more: looking misleads. */
const MOST_MISLED = 3;

/**
 * Tells whether claimed pages of an image are at hand, and has them read. To read or send a page that must
 * come from a disk would hold up the thread, and every session on it; so it is read ahead, and the task
 * looks again and again. One task's own.
 *
 * Some file systems read ahead into a cache of their own (ZFS) or have none (DAX): what they have never
 * looks as if it were at hand before it is read. There the looks end after a few requests.
 */
export class StoredPages {
  readonly #locator: PageLocator;
  readonly #patience: number;
  readonly #memory = new Residency();
  #looks: boolean;
  /** Pages from here to there were at hand. */
  #first = 0;
  #end = 0;
  /** Since when it is waited for the disk, and since when a thread reads; 0: not. */
  #since = 0;
  #loading = 0;
  #misled = 0;

  /**
   * @param locator where the pages are
   * @param patience milliseconds after which a page counts as at hand: reading it shows what is wrong
   */
  constructor(locator: PageLocator, patience: number) {
    this.#locator = locator;
    this.#patience = patience * 1e6;
    this.#looks = locator.stored;
  }

  /** Forgets which pages were at hand: that was a while ago. */
  forget(): void {
    this.#end = 0;
  }

  /**
   * Reports whether a page can be located and sent without waiting for a disk. Pages behind it are looked at
   * with it, a certain number.
   *
   * @param page the page
   * @param end the page behind those that are sent after it
   */
  has(page: number, end: number): boolean {
    if (!this.#looks || (page >= this.#first && page < this.#end)) return true;
    const lookEnd = Math.min(end, page + LOOK_PAGES);
    this.#list(page, lookEnd);
    if (!this.#memory.resident && !this.#tired) return false;
    if (this.#since > 0) this.#come();
    this.#first = page;
    this.#end = lookEnd;
    return true;
  }

  /**
   * It is not at hand: has it read, and all up to `end`.
   *
   * @returns nanoseconds after which to look again
   * @throws {MigrationError} `IMAGE_CHANGED`, `IMAGE_UNREADABLE`: it would never come
   */
  await(page: number, end: number): number {
    this.#locator.check();
    const now = monotonicNanoseconds();
    if (this.#since === 0) {
      this.#since = now;
      this.request(page, end);
    } else if (this.#loading === 0 && now - this.#since > ADVICE_PATIENCE) {
      this.#loading = now;
      this.#list(page, Math.min(end, page + LOOK_PAGES));
      this.#memory.load();
    }
    const interval = (now - this.#since) / 4;
    return Math.min(LONGEST_INTERVAL, Math.max(SHORTEST_INTERVAL, interval));
  }

  /**
   * Has the kernel read ahead what is not at hand.
   *
   * @returns whether there was any
   */
  request(page: number, end: number): boolean {
    let any = false;
    // The kernel may limit how much is read for one call: what is missing is asked for at its turn.
    for (let from = page; from < end; from += LOOK_PAGES) {
      this.#list(from, Math.min(end, from + LOOK_PAGES));
      if (this.#memory.resident) continue;
      this.#memory.request();
      any = true;
    }
    return any;
  }

  get #tired(): boolean {
    return this.#since > 0 && monotonicNanoseconds() - this.#since > this.#patience;
  }

  #come(): void {
    // What is never at hand, whatever was done, is read as it is; so would be all that comes after it.
    const misled = this.#tired ||
      (this.#loading > 0 && monotonicNanoseconds() - this.#loading < AT_ONCE);
    this.#misled = misled ? this.#misled + 1 : 0;
    if (this.#misled === MOST_MISLED) this.#looks = false;
    this.#since = 0;
    this.#loading = 0;
  }

  #list(page: number, end: number): void {
    const memory = this.#memory;
    memory.clear();
    for (let each = page; each < end && !memory.full; each++) this.#locator.list(each, memory);
  }
}
