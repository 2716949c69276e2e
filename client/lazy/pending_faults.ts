/** Pages that somebody waits for and that are not in place yet. */

/**
 * A row of pages, oldest first, each once however many threads wait for it: one ioctl wakes them all. As long
 * as the threads of a process that wait at a time, so that a search is no more than a glance.
 */
export class PendingFaults {
  readonly #pages: number[] = [];
  readonly #since: number[] = [];

  /** How many there are. */
  get count(): number {
    return this.#pages.length;
  }

  /** Adds a page, unless it is there. */
  add(page: number): void {
    if (this.#pages.includes(page)) return;
    this.#pages.push(page);
    this.#since.push(0);
  }

  /** The page at a place. */
  page(index: number): number {
    return this.#pages[index]!;
  }

  /** Since when it is waited for the disk, as `setSince` said; 0: it is not. */
  since(index: number): number {
    return this.#since[index]!;
  }

  /** Notes since when it is waited for the disk. */
  setSince(index: number, time: number): void {
    this.#since[index] = time;
  }

  /** Takes out the page at a place; those behind it move up. */
  remove(index: number): void {
    const pages = this.#pages;
    const since = this.#since;
    // By hand: splice makes an array of what it took out.
    for (let at = index + 1; at < pages.length; at++) {
      pages[at - 1] = pages[at]!;
      since[at - 1] = since[at]!;
    }
    pages.length--;
    since.length--;
  }

  /** Takes out those from one on and before another. */
  removeBetween(from: number, to: number): void {
    for (let index = this.#pages.length - 1; index >= 0; index--) {
      if (this.#pages[index]! >= from && this.#pages[index]! < to) this.remove(index);
    }
  }
}
