/** Pages that a capture holds only encoded, made whole once and kept in the index. */

import { decodeXbzrle, inflatePage } from "../../migration/protocol/mod.ts";
import type { IndexStorage } from "./index_storage.ts";
import type { PageTable } from "./page_table.ts";

/** Appends reconstructed pages to an index, and enters them in its table. */
export class ReconstructedPages {
  readonly #image: Uint8Array;
  readonly #storage: IndexStorage;
  readonly #table: PageTable;
  readonly #start: number;
  readonly #page: Uint8Array;
  #count = 0;

  /**
   * @param image all of the image
   * @param storage where the index is written
   * @param table the index's table
   * @param start where in the index the first such page goes, in bytes
   * @param pageSize bytes of a page
   */
  constructor(
    image: Uint8Array,
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
  }

  /** Pages appended. */
  get count(): number {
    return this.#count;
  }

  /** A page of one byte repeated, not 0. */
  fill(page: number, byte: number): void {
    this.#page.fill(byte);
    this.#keep(page, this.#page);
  }

  /** A page compressed by zlib; see {@linkcode inflatePage}. */
  inflate(page: number, bytes: Uint8Array, at: number, length: number): void {
    this.#keep(page, inflatePage(bytes, at, length, this.#page.length));
  }

  /**
   * A page as the difference to its previous content; see {@linkcode decodeXbzrle}. A page without
   * any is zero, as at a destination that received nothing.
   */
  applyXbzrle(page: number, bytes: Uint8Array, at: number, length: number): void {
    const position = this.#table.position(page);
    if (position === undefined) this.#page.fill(0);
    else if (position.inIndex) this.#storage.read(position.offset, this.#page);
    else {
      this.#page.set(
        this.#image.subarray(position.offset, position.offset + this.#page.length),
      );
    }
    decodeXbzrle(this.#page, bytes, at, length);
    this.#keep(page, this.#page);
  }

  #keep(page: number, content: Uint8Array): void {
    const position = this.#table.position(page);
    if (position?.inIndex) {
      this.#storage.write(position.offset, content);
      return;
    }
    const offset = this.#start + this.#count * this.#page.length;
    this.#storage.write(offset, content);
    this.#table.setInIndex(page, offset);
    this.#count++;
  }
}
