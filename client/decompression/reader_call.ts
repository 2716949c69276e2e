/** How the threads that decompress call a reader which has nothing else to do. */

import { signalEvent } from "../../ffi/eventfd.ts";

/**
 * A word in shared memory: whether the reader wants to be called when a page is finished. No call is lost:
 * the reader asks for it, then looks whether a page is finished; a thread finishes a page, then looks
 * whether it is to call. In the one order that atomic accesses have, one of the two finds what it looks for.
 */
export class ReaderCall {
  /** The shared memory behind it. */
  readonly buffer: SharedArrayBuffer;
  readonly #wanted: Int32Array;

  /** @param buffer shared memory of another thread's; without it, new */
  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(4)) {
    this.buffer = buffer;
    this.#wanted = new Int32Array(buffer);
  }

  /** Reader: asks to be called once. */
  ask(): void {
    Atomics.store(this.#wanted, 0, 1);
  }

  /** Any other thread: calls the reader if it asked; costs one load when it did not. */
  answer(wakeFd: number): void {
    if (Atomics.load(this.#wanted, 0) === 0) return;
    if (Atomics.compareExchange(this.#wanted, 0, 1, 0) === 1) signalEvent(wakeFd);
  }
}
