/** Seeing memory of any length: an array reaches over a part of it only. */

import { viewMemory } from "./memory.ts";

/** Memory seen through one view; V8 does not make views of any length. */
const WINDOW_BYTES = 2 ** 30;
/** What begins in a window ends in it: the largest target page there is. */
const OVERLAP_BYTES = 64 * 1024;

/** One part of the memory, in the forms in which it is read and written. */
interface Window {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly words: Int32Array<ArrayBuffer>;
  readonly data: DataView<ArrayBuffer>;
}

/**
 * A range of memory of another owner, seen a GiB at a time. {@linkcode MemoryWindows.show} brings an
 * offset into view; arrays and index are good until the next one is shown. A view is made when its GiB
 * is first shown, none for a page, and only what is read or written through it is touched.
 *
 * @example
 * ```ts
 * import { MappedMemory } from "./memory.ts";
 * import { MemoryWindows } from "./memory_windows.ts";
 *
 * using memory = MappedMemory.anonymous(5 * 2 ** 30);
 * const windows = new MemoryWindows(memory.address, memory.length);
 * const index = windows.show(4 * 2 ** 30 + 4096);
 * windows.bytes.fill(1, index, index + 4096);
 * ```
 */
export class MemoryWindows {
  readonly #address: number;
  readonly #length: number;
  readonly #made = new Map<number, Window>();
  #shown = -1;
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #words: Int32Array<ArrayBuffer> = new Int32Array(0);
  #data: DataView<ArrayBuffer> = new DataView(this.#bytes.buffer);

  /**
   * @param address first byte; a multiple of 4 where {@linkcode MemoryWindows.words} is used
   * @param length bytes, also of what is not mapped and never asked for
   */
  constructor(address: number, length: number) {
    this.#address = address;
    this.#length = length;
  }

  /** What is shown, as bytes. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  /** The same as words: a quarter of the index, which must be a multiple of 4. */
  get words(): Int32Array<ArrayBuffer> {
    return this.#words;
  }

  /** The same for reading at any index, as fast as words at a multiple of 4. */
  get data(): DataView<ArrayBuffer> {
    return this.#data;
  }

  /**
   * Brings memory into view.
   *
   * @param offset bytes from the start of the range; 64 KiB from there on are in view, up to its end
   * @returns the index of that byte
   */
  show(offset: number): number {
    const number = Math.floor(offset / WINDOW_BYTES);
    if (number !== this.#shown) this.#turnTo(number);
    return offset - number * WINDOW_BYTES;
  }

  #turnTo(number: number): void {
    let window = this.#made.get(number);
    if (window === undefined) {
      window = this.#make(number * WINDOW_BYTES);
      this.#made.set(number, window);
    }
    this.#bytes = window.bytes;
    this.#words = window.words;
    this.#data = window.data;
    this.#shown = number;
  }

  #make(start: number): Window {
    const length = Math.min(WINDOW_BYTES + OVERLAP_BYTES, this.#length - start);
    const bytes = viewMemory(this.#address + start, length);
    const { buffer } = bytes;
    const words = new Int32Array(buffer, 0, Math.floor(length / 4));
    return { bytes, words, data: new DataView(buffer) };
  }
}
