/** Which pages of the memory a process touched, in shared memory. */

import { MOST_ORDERED } from "../../image/order/order_list.ts";

/** A row of pages; its one writer is the process's task. Memory that is not written is none. */
export class TouchLog {
  /** The shared memory behind it. */
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  /** @param buffer shared memory of another thread's; without it, new */
  constructor(buffer?: SharedArrayBuffer) {
    this.buffer = buffer ?? new SharedArrayBuffer((1 + MOST_ORDERED) * 4);
    this.#words = new Int32Array(this.buffer);
  }

  /** Notes a page; one may come again. What comes when it is full is not noted. */
  note(page: number): void {
    const count = this.#words[0]!;
    if (count === MOST_ORDERED) return;
    this.#words[1 + count] = page;
    Atomics.store(this.#words, 0, count + 1); // publishes the word above
  }

  /** A copy of what was noted. */
  get pages(): Int32Array {
    return this.#words.slice(1, 1 + Atomics.load(this.#words, 0));
  }
}
