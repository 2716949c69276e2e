/** Reading memory by address, a page at a time, without allocating. */

import { MemoryWindows } from "./memory_windows.ts";

/** More than any user address: those are below 2^47 or 2^48. */
const ADDRESS_SPACE_BYTES = 2 ** 48;

/** Copies pages out of this process's memory, wherever they lie. */
export class MemoryReader {
  readonly #windows = new MemoryWindows(0, ADDRESS_SPACE_BYTES);

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
    let at = this.#windows.show(address);
    const data = this.#windows.data;
    const end = index + length / 4;
    for (let to = index; to < end; to++, at += 4) words[to] = data.getInt32(at, true);
  }
}
