/** What a channel receives into, with room behind it in which its pages are gathered. */

import { discardMemory, MappedMemory, viewMemory } from "../ffi/memory.ts";

/** Memory of another owner to make a buffer of. */
export interface LentMemory {
  /** Of its first byte. */
  readonly address: number;
  /** Bytes, {@linkcode ReceiveBuffer.roomFor} or more. */
  readonly length: number;
}

/** Room for a page of 2 MiB behind the input: memory that no page is gathered in is never touched. */
export const GATHER_BYTES: number = 2 * 1024 * 1024;

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
  /** Address of the input's first byte. */
  readonly address: number;
  /** Index of the first byte behind input and gathered pages: what lent memory has more. */
  readonly keptAt: number;
  readonly #own: MappedMemory | undefined;
  readonly #words: Int32Array;

  /**
   * @param capacity bytes of input, a multiple of 4096
   * @param memory memory that outlives the buffer; without it, new
   */
  constructor(capacity: number, memory?: LentMemory) {
    this.capacity = capacity;
    this.keptAt = ReceiveBuffer.roomFor(capacity);
    if (memory === undefined) {
      this.#own = MappedMemory.anonymous(this.keptAt);
      this.#own.adviseSmallPages(); // a huge page would be there whole, for the first page gathered
    }
    const { address, length } = memory ?? this.#own!;
    this.address = address;
    this.bytes = viewMemory(address, length);
    this.#words = new Int32Array(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length / 4);
  }

  /** Bytes of memory that a buffer takes, a multiple of 4096. */
  static roomFor(capacity: number): number {
    return capacity + GATHER_BYTES;
  }

  /** Address of the first byte of the room for pages. */
  get gatherAddress(): number {
    return this.address + this.capacity;
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
    this.#copy(bytes, at, length, this.capacity + to);
  }

  /**
   * Copies bytes behind the room for pages, into lent memory.
   *
   * @param bytes where they are: this buffer's, or any other
   * @param at index of the first
   * @param length bytes
   * @param to offset from {@linkcode ReceiveBuffer.keptAt}
   */
  keep(bytes: Uint8Array, at: number, length: number, to: number): void {
    this.#copy(bytes, at, length, this.keptAt + to);
  }

  /** Clears a part of the room for pages. */
  clear(to: number, length: number): void {
    this.bytes.fill(0, this.capacity + to, this.capacity + to + length);
  }

  /**
   * Copies a page to where it belongs, at once.
   *
   * @param bytes where it is: this buffer's, or any other
   * @param at index of its first byte
   * @param length bytes, at most {@linkcode GATHER_BYTES}
   * @param words where it goes
   * @param index of its first word there
   */
  put(bytes: Uint8Array, at: number, length: number, words: Int32Array, index: number): void {
    this.gather(bytes, at, length, 0);
    this.writeTo(0, length, words, index);
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

  /**
   * Gives the memory of the input, and of what is behind the room for pages, back to the system until it is
   * touched again: what lies there is lost.
   */
  rest(): void {
    discardMemory(this.address, this.capacity, false);
    const kept = this.bytes.length - this.keptAt;
    if (kept > 0) discardMemory(this.address + this.keptAt, kept, false);
  }

  /** Frees its memory, unless that is lent. */
  close(): void {
    this.#own?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #copy(bytes: Uint8Array, at: number, length: number, target: number): void {
    if (bytes === this.bytes) this.bytes.copyWithin(target, at, at + length);
    else this.bytes.set(bytes.subarray(at, at + length), target);
  }
}
