/** What a channel receives into, with room behind it in which its pages are gathered. */

import { MappedMemory } from "../ffi/memory.ts";

/** Room for a huge page behind the input: memory that no page is gathered in is never touched. */
const GATHER_BYTES = 2 * 1024 * 1024;

/**
 * Receives a channel's bytes, and copies pages out of them. Both areas are one array of bytes, because
 * copying inside an array allocates nothing, where setting one from a part of another makes a view of
 * that part for each page.
 */
export class ReceiveBuffer implements Disposable {
  /** All of it: the input first. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Bytes of input that there is room for. */
  readonly capacity: number;
  readonly #memory: MappedMemory;
  readonly #words: Int32Array;

  /** @param capacity bytes of input, a multiple of 4096 */
  constructor(capacity: number) {
    this.capacity = capacity;
    this.#memory = MappedMemory.anonymous(capacity + GATHER_BYTES);
    this.bytes = this.#memory.bytes();
    this.#words = new Int32Array(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length / 4);
  }

  /** Address of the input's first byte. */
  get address(): number {
    return this.#memory.address;
  }

  /** Address of the first byte of the room for pages. */
  get gatherAddress(): number {
    return this.#memory.address + this.capacity;
  }

  /**
   * Copies a page into the room for pages.
   *
   * @param bytes where it is: this buffer's, or any other
   * @param at index of its first byte
   * @param length bytes
   * @param to offset in the room
   */
  gather(bytes: Uint8Array, at: number, length: number, to: number): void {
    const target = this.capacity + to;
    if (bytes === this.bytes) this.bytes.copyWithin(target, at, at + length);
    else this.bytes.set(bytes.subarray(at, at + length), target);
  }

  /** Clears a part of the room for pages. */
  clear(to: number, length: number): void {
    this.bytes.fill(0, this.capacity + to, this.capacity + to + length);
  }

  /**
   * Copies a page out of the room for pages, word by word (0.5 us).
   *
   * @param from offset in the room, a multiple of 4
   * @param length bytes, a multiple of 4
   * @param words where it goes
   * @param index of its first word there
   */
  writeTo(from: number, length: number, words: Int32Array, index: number): void {
    const source = this.#words;
    const end = index + length / 4;
    let at = (this.capacity + from) / 4;
    for (let to = index; to < end; to++) words[to] = source[at++]!;
  }

  /** Frees it. */
  close(): void {
    this.#memory.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
