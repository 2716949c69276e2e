/** Requests that were read and wait for their turn. */

/**
 * Ranges of pages in the order in which they were asked for, in arrays made once. Whoever fills it reads
 * nothing more before it is empty, so it holds what one piece of input can ask for.
 */
export class RequestQueue {
  readonly #pages: Int32Array;
  readonly #ends: Int32Array;
  #first = 0;
  #count = 0;

  /** @param capacity most ranges at a time */
  constructor(capacity: number) {
    this.#pages = new Int32Array(capacity);
    this.#ends = new Int32Array(capacity);
  }

  /** True when nothing waits. */
  get empty(): boolean {
    return this.#count === 0;
  }

  /** Puts pages from `first` up to `end` behind the others. */
  add(first: number, end: number): void {
    const at = this.#first + this.#count++;
    this.#pages[at] = first;
    this.#ends[at] = end;
  }

  /** The next page of the oldest range, which must be there; at its end, `end`. */
  get page(): number {
    return this.#pages[this.#first]!;
  }

  set page(page: number) {
    this.#pages[this.#first] = page;
  }

  /** The page behind the oldest range. */
  get end(): number {
    return this.#ends[this.#first]!;
  }

  /** Drops the oldest range. */
  drop(): void {
    this.#first++;
    if (--this.#count === 0) this.#first = 0;
  }
}
