/** Pages found through a table: captured streams, whose pages lie where the stream put them. */

import { viewMemory } from "../ffi/memory.ts";

const TWO_TO_32 = 0x1_0000_0000;

/** Bytes of a table entry: a little-endian u64. */
export const ENTRY_BYTES = 8;

/** Entries that are no position: no page can lie there, for a stream's header does. */
export const TableEntry = {
  /** The stream never mentions the page. Zero, so that a hole in the index file says the same. */
  MISSING: 0,
  /** The page is zero. */
  ZERO: 1,
} as const;

/** The bit of an entry's upper half that says: a position in the index file, not in the image. */
export const IN_INDEX = 0x8000_0000;

/** A table of positions. Plain data, for `postMessage`; addresses are valid until the image is closed. */
export interface TablePages {
  readonly kind: "table";
  /** Address of the image's first byte. */
  readonly imageAddress: number;
  /** Address of the index file's first byte. */
  readonly indexAddress: number;
  /** Address of the table: an entry for each page number, {@linkcode TableEntry} or a position. */
  readonly tableAddress: number;
  /** Entries in the table. */
  readonly pageLimit: number;
}

/** Finds the pages of a table. */
export class TableLocator {
  readonly #words: Uint32Array;
  readonly #imageAddress: number;
  readonly #indexAddress: number;

  /** @param pages a table whose entries were checked when the image was opened */
  constructor(pages: TablePages) {
    const { tableAddress, pageLimit } = pages;
    this.#words = new Uint32Array(viewMemory(tableAddress, pageLimit * ENTRY_BYTES).buffer);
    this.#imageAddress = pages.imageAddress;
    this.#indexAddress = pages.indexAddress;
  }

  /** See {@linkcode PageLocator.locate}. */
  locate(page: number): number {
    const low = this.#words[page * 2]!;
    const high = this.#words[page * 2 + 1]!;
    if (high >= IN_INDEX) return this.#indexAddress + (high - IN_INDEX) * TWO_TO_32 + low;
    if (high === 0 && low <= TableEntry.ZERO) return 0;
    return this.#imageAddress + high * TWO_TO_32 + low;
  }
}
