/** Pages that a capture holds only encoded, made whole once and kept in the index. */

import type { MappedMemory } from "../../ffi/memory.ts";
import { decodeXbzrle, inflatePage } from "../../migration/protocol/mod.ts";
import type { IndexStorage } from "./index_storage.ts";
import { pageSum } from "../../pages/page_sum.ts";
import type { PageTable } from "./page_table.ts";
import { SUM_BYTES } from "../../pages/table_pages.ts";

/** Appends reconstructed pages to an index, and enters them in its table. */
export class ReconstructedPages {
  readonly #image: MappedMemory;
  readonly #storage: IndexStorage;
  readonly #table: PageTable;
  readonly #start: number;
  readonly #page: Uint8Array<ArrayBuffer>;
  readonly #words: Int32Array;
  #sums = new Uint32Array(1024);
  #count = 0;

  /**
   * @param image all of the image
   * @param storage where the index is written
   * @param table the index's table
   * @param start where in the index the first such page goes, in bytes
   * @param pageSize bytes of a page
   */
  constructor(
    image: MappedMemory,
    storage: IndexStorage,
    table: PageTable,
    start: number,
    pageSize: number,
  ) {
    this.#image = image;
    this.#storage = storage;
    this.#table = table;
    this.#start = start;
    this.#page = new Uint8Array(pageSize);
    this.#words = new Int32Array(this.#page.buffer);
  }

  /** Pages appended. */
  get count(): number {
    return this.#count;
  }

  /** Their checksums in the order in which they lie there, as the index has them. */
  get sums(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#sums.buffer, 0, this.#count * SUM_BYTES);
  }

  /** A page of one byte repeated, not 0. */
  fill(page: number, byte: number): void {
    this.#page.fill(byte);
    this.#keep(page);
  }

  /** A page compressed by zlib; see {@linkcode inflatePage}. */
  inflate(page: number, bytes: Uint8Array, at: number, length: number): void {
    this.#page.set(inflatePage(bytes, at, length, this.#page.length));
    this.#keep(page);
  }

  /**
   * A page as the difference to its previous content; see {@linkcode decodeXbzrle}. A page without
   * any is zero, as at a destination that received nothing.
   */
  applyXbzrle(page: number, bytes: Uint8Array, at: number, length: number): void {
    const position = this.#table.position(page);
    if (position === undefined) this.#page.fill(0);
    else if (position.inIndex) this.#storage.read(position.offset, this.#page);
    else this.#image.read(position.offset, this.#page);
    decodeXbzrle(this.#page, bytes, at, length);
    this.#keep(page);
  }

  #keep(page: number): void {
    const position = this.#table.position(page);
    const offset = position?.inIndex ? position.offset : this.#append(page);
    this.#storage.write(offset, this.#page);
    const sum = pageSum(this.#words, 0, this.#words.length);
    this.#sums[(offset - this.#start) / this.#page.length] = sum;
  }

  /** Makes room for another page and enters it; returns where it goes. */
  #append(page: number): number {
    const offset = this.#start + this.#count * this.#page.length;
    this.#table.setInIndex(page, offset);
    if (this.#count === this.#sums.length) {
      const sums = new Uint32Array(this.#count * 2);
      sums.set(this.#sums);
      this.#sums = sums;
    }
    this.#count++;
    return offset;
  }
}
