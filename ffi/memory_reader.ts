/** Reading memory by address, a page at a time, without allocating. */

import { viewMemory } from "./memory.ts";

/** Memory seen through one view; V8 does not make views of any length. */
const WINDOW_BYTES = 2 ** 30;
/** What begins in a window ends in it: the largest page there is. */
const OVERLAP_BYTES = 64 * 1024;

/**
 * Copies pages out of this process's memory, wherever they lie. A view of each GiB is made when it is
 * first read, and reaches also over what is not mapped: only what is asked for is touched.
 */
export class MemoryReader {
  readonly #windows = new Map<number, DataView>();

  /**
   * Copies memory, which stays mapped during the call. A DataView reads at any address, also those of a
   * captured stream's pages, as fast as an Int32Array does at a multiple of four (0.8 us a page).
   *
   * @param address first byte
   * @param length bytes, a multiple of 4 and at most 64 KiB
   * @param words where it goes
   * @param index of its first word there
   */
  copy(address: number, length: number, words: Int32Array, index: number): void {
    const number = Math.floor(address / WINDOW_BYTES);
    let window = this.#windows.get(number);
    if (window === undefined) {
      const bytes = viewMemory(number * WINDOW_BYTES, WINDOW_BYTES + OVERLAP_BYTES);
      window = new DataView(bytes.buffer);
      this.#windows.set(number, window);
    }
    const end = index + length / 4;
    let at = address - number * WINDOW_BYTES;
    for (let to = index; to < end; to++, at += 4) words[to] = window.getInt32(at, true);
  }
}
