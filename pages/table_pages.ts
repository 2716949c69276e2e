/** Pages found through a table: captured streams, whose pages lie where the stream put them. */

import { viewMemory } from "../ffi/memory.ts";
import type { Residency } from "../ffi/residency.ts";
import { MigrationError } from "../migration/migration_error.ts";
import { copyWords, showBytes, type ShownBytes } from "./file_window.ts";
import { pageSum } from "./page_sum.ts";
import type { StoredFile } from "./stored_file.ts";

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

/** Bytes of a reconstructed page's checksum: its {@linkcode pageSum}, a little-endian u32. */
export const SUM_BYTES = 4;

/** The bit of an entry's upper half that says: a position in the index file, not in the image. */
export const IN_INDEX = 0x8000_0000;

/** The pages that lie in the index file. Plain data, for `postMessage`. */
export interface ReconstructedRange {
  /** Name of the index file, for errors. */
  readonly path: string;
  /** The file; absent when the index lies in memory. */
  readonly file?: StoredFile | undefined;
  /** Address of the index file's first byte. */
  readonly address: number;
  /** Where in it the first page lies, in bytes; the others follow. */
  readonly pagesOffset: number;
  /** How many there are. */
  readonly pagesCount: number;
  /** Bytes of each. */
  readonly pageSize: number;
  /** Where in it their checksums lie, in the same order, each of {@linkcode SUM_BYTES}. */
  readonly sumsOffset: number;
}

/** A table of positions. Plain data, for `postMessage`; addresses are valid until the image is closed. */
export interface TablePages {
  readonly kind: "table";
  /** The image's file; absent when it lies in memory. */
  readonly file?: StoredFile | undefined;
  /** Bytes of the image. */
  readonly imageLength: number;
  /** Address of the image's first byte. */
  readonly imageAddress: number;
  /** The pages in the index file. */
  readonly reconstructed: ReconstructedRange;
  /** Address of the table, in memory: an entry for each page number, {@linkcode TableEntry} or a position. */
  readonly tableAddress: number;
  /** Entries in the table. */
  readonly pageLimit: number;
  /** Shared memory of the bitmap of pages that the stream mentions, by their numbers; absent: all of them. */
  readonly present?: SharedArrayBuffer | undefined;
}

/**
 * The error for a reconstructed page whose bytes are not those that were put into the index.
 *
 * @param path the index file's name
 * @param offset where the page lies in it, in bytes
 */
function damagedPage(path: string, offset: number): MigrationError {
  return new MigrationError(
    "IMAGE_UNREADABLE",
    `Reconstructed page that fails its checksum at byte ${offset}: ${path}: remove that file, it ` +
      "is made anew when the image is opened",
  );
}

/**
 * Finds reconstructed pages, and sees that they are what was reconstructed.
 *
 * They may be as many as the guest has: to read them all when the image is opened would take minutes.
 * So each is checked when it is sent, which reads it anyhow. That costs 0.6 us, and only for captures
 * with encoded pages.
 */
class ReconstructedLocator {
  readonly #range: ReconstructedRange;
  readonly #sums: ShownBytes;
  /** Addresses of the pages are from here to there. */
  readonly #start: number;
  readonly #end: number;
  readonly #pages: ShownBytes;

  /** @param range pages that lie in the index */
  constructor(range: ReconstructedRange) {
    const { file, address, pagesOffset, pagesCount, pageSize, sumsOffset } = range;
    const length = sumsOffset + pagesCount * SUM_BYTES;
    this.#range = range;
    this.#start = address + pagesOffset;
    this.#end = this.#start + pagesCount * pageSize;
    this.#pages = showBytes(file, address, length);
    this.#sums = showBytes(file, address, length);
  }

  /** @param offset where it lies in the index file, in bytes */
  locate(offset: number): number {
    const { address, pagesOffset, pageSize, sumsOffset, path } = this.#range;
    const pages = this.#pages;
    const sums = this.#sums;
    const at = pages.show(offset, pageSize);
    const sum = pageSum(pages.words, at / 4, pageSize / 4);
    const sumAt = sums.show(sumsOffset + (offset - pagesOffset) / pageSize * SUM_BYTES, SUM_BYTES);
    if (sum !== sums.data.getUint32(sumAt, true)) throw damagedPage(path, offset);
    return address + offset;
  }

  /** Whether an address is that of such a page. */
  holds(address: number): boolean {
    return address >= this.#start && address < this.#end;
  }

  /** See {@linkcode PageLocator.copy}. */
  copy(address: number, words: Int32Array, index: number): void {
    copyWords(this.#pages, address - this.#range.address, this.#range.pageSize, words, index);
  }

  /** @param offset where it lies in the index file, in bytes */
  list(offset: number, memory: Residency): void {
    const { address, pagesOffset, pageSize, sumsOffset } = this.#range;
    memory.add(address + offset, pageSize);
    memory.add(address + sumsOffset + (offset - pagesOffset) / pageSize * SUM_BYTES, SUM_BYTES);
  }
}

/** Finds the pages of a table. */
export class TableLocator {
  readonly #words: Uint32Array;
  readonly #bytes: ShownBytes;
  readonly #imageAddress: number;
  readonly #pageSize: number;
  readonly #reconstructed: ReconstructedLocator;

  /** @param pages a table whose entries were checked when the image was opened */
  constructor(pages: TablePages) {
    const { tableAddress, pageLimit } = pages;
    this.#words = new Uint32Array(viewMemory(tableAddress, pageLimit * ENTRY_BYTES).buffer);
    this.#bytes = showBytes(pages.file, pages.imageAddress, pages.imageLength);
    this.#imageAddress = pages.imageAddress;
    this.#pageSize = pages.reconstructed.pageSize;
    this.#reconstructed = new ReconstructedLocator(pages.reconstructed);
  }

  /**
   * See {@linkcode PageLocator.locate}.
   *
   * @throws {MigrationError} `IMAGE_UNREADABLE` when the page lies in the index and was damaged there
   */
  locate(page: number): number {
    const low = this.#words[page * 2]!;
    const high = this.#words[page * 2 + 1]!;
    if (high >= IN_INDEX) return this.#reconstructed.locate((high - IN_INDEX) * TWO_TO_32 + low);
    if (high === 0 && low <= TableEntry.ZERO) return 0;
    return this.#imageAddress + high * TWO_TO_32 + low;
  }

  /** See {@linkcode PageLocator.copy}. */
  copy(address: number, words: Int32Array, index: number): void {
    if (this.#reconstructed.holds(address)) this.#reconstructed.copy(address, words, index);
    else copyWords(this.#bytes, address - this.#imageAddress, this.#pageSize, words, index);
  }

  /** See {@linkcode PageLocator.list}. */
  list(page: number, memory: Residency): void {
    const low = this.#words[page * 2]!;
    const high = this.#words[page * 2 + 1]!;
    if (high >= IN_INDEX) {
      this.#reconstructed.list((high - IN_INDEX) * TWO_TO_32 + low, memory);
    } else if (high !== 0 || low > TableEntry.ZERO) {
      memory.add(this.#imageAddress + high * TWO_TO_32 + low, this.#pageSize);
    }
  }
}
