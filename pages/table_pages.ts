/** Pages found through a table: captured streams, whose pages lie where the stream put them. */

import { viewMemory } from "../ffi/memory.ts";
import type { Residency } from "../ffi/residency.ts";
import { pageSum } from "./page_sum.ts";

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
  /** Address of the image's first byte. */
  readonly imageAddress: number;
  /** The pages in the index file. */
  readonly reconstructed: ReconstructedRange;
  /** Address of the table: an entry for each page number, {@linkcode TableEntry} or a position. */
  readonly tableAddress: number;
  /** Entries in the table. */
  readonly pageLimit: number;
}

/** A reconstructed page whose bytes are not those that were put into the index. */
export class DamagedPageError extends Error {
  override readonly name = "DamagedPageError";
  /** Machine-readable reason. */
  readonly code = "DAMAGED_PAGE";

  /**
   * @param path the index file's name
   * @param offset where the page lies in it, in bytes
   */
  constructor(path: string, offset: number) {
    super(
      `Reconstructed page that fails its checksum at byte ${offset}: ${path}: remove that file, it ` +
        "is made anew when the image is opened",
    );
  }
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
  readonly #words: Int32Array;
  readonly #sums: Uint32Array;

  constructor(range: ReconstructedRange) {
    const { address, pagesOffset, pagesCount, pageSize, sumsOffset } = range;
    this.#range = range;
    this.#words = new Int32Array(
      viewMemory(address + pagesOffset, pagesCount * pageSize).buffer,
    );
    this.#sums = new Uint32Array(
      viewMemory(address + sumsOffset, pagesCount * SUM_BYTES).buffer,
    );
  }

  /** @param offset where it lies in the index file, in bytes */
  locate(offset: number): number {
    const { address, pagesOffset, pageSize, path } = this.#range;
    const at = offset - pagesOffset;
    const sum = pageSum(this.#words, at / 4, pageSize / 4);
    if (sum !== this.#sums[at / pageSize]) throw new DamagedPageError(path, offset);
    return address + offset;
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
  readonly #imageAddress: number;
  readonly #pageSize: number;
  readonly #reconstructed: ReconstructedLocator;

  /** @param pages a table whose entries were checked when the image was opened */
  constructor(pages: TablePages) {
    const { tableAddress, pageLimit } = pages;
    this.#words = new Uint32Array(viewMemory(tableAddress, pageLimit * ENTRY_BYTES).buffer);
    this.#imageAddress = pages.imageAddress;
    this.#pageSize = pages.reconstructed.pageSize;
    this.#reconstructed = new ReconstructedLocator(pages.reconstructed);
  }

  /**
   * See {@linkcode PageLocator.locate}.
   *
   * @throws {DamagedPageError} when the page lies in the index and was damaged there
   */
  locate(page: number): number {
    const low = this.#words[page * 2]!;
    const high = this.#words[page * 2 + 1]!;
    if (high >= IN_INDEX) return this.#reconstructed.locate((high - IN_INDEX) * TWO_TO_32 + low);
    if (high === 0 && low <= TableEntry.ZERO) return 0;
    return this.#imageAddress + high * TWO_TO_32 + low;
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
