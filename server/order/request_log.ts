/** What a destination asks for, in that order, noted while it is served. */

import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import { SharedLayout } from "../../migration/threads/shared_layout.ts";
import { MOST_ORDERED } from "../../image/order/order_list.ts";

const layout = new SharedLayout();
const { COUNT } = layout.words("COUNT");

/**
 * Page numbers in shared memory, made once: 1 MiB at most, of which only what is written takes memory. One
 * thread adds, any may read. What is asked for when it is full is not noted: the guest has long been running.
 */
export class RequestLog {
  /** The shared memory behind it. */
  readonly buffer: SharedArrayBuffer;
  readonly #count: Int32Array;
  readonly #pages: Int32Array;

  /**
   * @param ram the blocks
   * @param buffer shared memory of another thread's log; without it, a new one
   */
  constructor(ram: RamLayout, buffer?: SharedArrayBuffer) {
    const capacity = Math.min(MOST_ORDERED, ram.pageLimit);
    this.buffer = buffer ?? new SharedArrayBuffer(layout.bytes + capacity * 4);
    this.#count = new Int32Array(this.buffer, 0, layout.bytes / 4);
    this.#pages = new Int32Array(this.buffer, layout.bytes, capacity);
  }

  /** Notes the host page that begins with a page. */
  add(page: number): void {
    const count = this.#count[COUNT]!;
    if (count === this.#pages.length) return;
    this.#pages[count] = page;
    Atomics.store(this.#count, COUNT, count + 1);
  }

  /** How many were noted. */
  get count(): number {
    return Atomics.load(this.#count, COUNT);
  }

  /** What was noted at a place: the first target page of a host page. One may be there again. */
  at(place: number): number {
    return this.#pages[place]!;
  }

  /** A copy of what was noted: the first target page of each host page. One may be there again. */
  read(): Int32Array<ArrayBuffer> {
    return this.#pages.slice(0, this.count) as Int32Array<ArrayBuffer>;
  }
}
