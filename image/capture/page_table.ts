/** The table of page positions while a captured stream is read. */

import { MappedMemory } from "../../ffi/memory.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import type { PageCounts } from "../image.ts";
import { ENTRY_BYTES, IN_INDEX, TableEntry } from "../../pages/table_pages.ts";

const TWO_TO_32 = 0x1_0000_0000;

/** A position in one of two files, as {@linkcode PageTable} holds it. */
export interface PagePosition {
  /** Bytes from the start of the file. */
  readonly offset: number;
  /** The file is the index, not the image. */
  readonly inIndex: boolean;
}

/** A table with an entry for each page number; see {@linkcode TablePages} for its form. */
export class PageTable implements Disposable {
  /** The entries as they are stored. */
  readonly words: Uint32Array<ArrayBuffer>;
  readonly #layout: RamLayout;
  readonly #memory: MappedMemory;

  /** Makes a table that misses every page; memory is taken as pages are entered. */
  constructor(layout: RamLayout) {
    this.#layout = layout;
    this.#memory = MappedMemory.anonymous(layout.pageLimit * ENTRY_BYTES);
    this.words = new Uint32Array(this.#memory.bytes().buffer);
  }

  /** Enters where a page lies in the image, in bytes. */
  setInImage(page: number, offset: number): void {
    this.words[page * 2] = offset; // ToUint32 takes the low half of a number below 2^53
    this.words[page * 2 + 1] = offset / TWO_TO_32;
  }

  /** Enters where a page lies in the index file, in bytes. */
  setInIndex(page: number, offset: number): void {
    this.words[page * 2] = offset;
    this.words[page * 2 + 1] = offset / TWO_TO_32 + IN_INDEX;
  }

  /** Enters a page that is zero. */
  setZero(page: number): void {
    this.words[page * 2] = TableEntry.ZERO;
    this.words[page * 2 + 1] = 0;
  }

  /** Forgets `count` pages from `page` on. */
  forget(page: number, count: number): void {
    this.words.fill(0, page * 2, (page + count) * 2);
  }

  /** Where a page lies; undefined for one that is zero or missing. */
  position(page: number): PagePosition | undefined {
    const low = this.words[page * 2]!;
    const high = this.words[page * 2 + 1]!;
    if (high === 0 && low <= TableEntry.ZERO) return undefined;
    const inIndex = high >= IN_INDEX;
    return { offset: (inIndex ? high - IN_INDEX : high) * TWO_TO_32 + low, inIndex };
  }

  /** Counts the pages of each block. */
  counts(): PageCounts[] {
    return this.#layout.blocks.map(({ firstPage, pageCount }) => {
      let zero = 0;
      let missing = 0;
      const words = this.words;
      for (let i = firstPage * 2; i < (firstPage + pageCount) * 2; i += 2) {
        if (words[i + 1] !== 0) continue;
        if (words[i] === TableEntry.ZERO) zero++;
        else if (words[i] === TableEntry.MISSING) missing++;
      }
      return { data: pageCount - zero - missing, zero, missing };
    });
  }

  /** Frees the table. Closing again does nothing. */
  close(): void {
    this.#memory.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
