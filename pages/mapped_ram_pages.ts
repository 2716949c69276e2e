/**
 * Pages at fixed places with a bitmap of those that are there: mapped-ram files
 * (docs/protocol.md section 6; QEMU docs/devel/migration/mapped-ram.rst).
 */

import { viewMemory } from "../ffi/memory.ts";
import type { Residency } from "../ffi/residency.ts";
import { bitmapBytes } from "../migration/protocol/bitmap_codec.ts";

/** A block's bitmap and pages. */
export interface MappedRun {
  /** Number of the first page. */
  readonly firstPage: number;
  /** Pages. */
  readonly pageCount: number;
  /** Where the bitmap lies in the image, in bytes, a multiple of nothing. */
  readonly bitmapOffset: number;
  /** Where the first page lies in the image, in bytes. */
  readonly pagesOffset: number;
}

/** Runs of pages. Plain data, for `postMessage`; addresses are valid until the image is closed. */
export interface MappedRamPages {
  readonly kind: "mapped-ram";
  /** Address of the image's first byte. */
  readonly imageAddress: number;
  /** Runs by rising page number, one a RAM block. */
  readonly runs: readonly MappedRun[];
  /** Bytes of a page. */
  readonly pageSize: number;
}

/** Finds the pages of runs by their bits. */
export class MappedRamLocator {
  readonly #firstPages: readonly number[];
  readonly #addresses: readonly number[];
  // Little-endian words of 64 bits, which start anywhere in the file: as bytes they need no alignment.
  readonly #bitmaps: readonly Uint8Array[];
  readonly #pageSize: number;

  /** @param pages runs that lie inside the image */
  constructor(pages: MappedRamPages) {
    const { imageAddress, runs } = pages;
    this.#firstPages = runs.map((run) => run.firstPage);
    this.#addresses = runs.map((run) => imageAddress + run.pagesOffset);
    this.#bitmaps = runs.map((run) =>
      viewMemory(imageAddress + run.bitmapOffset, bitmapBytes(run.pageCount))
    );
    this.#pageSize = pages.pageSize;
  }

  /** See {@linkcode PageLocator.locate}. */
  locate(page: number): number {
    let run = this.#firstPages.length - 1;
    while (this.#firstPages[run]! > page) run--;
    const index = page - this.#firstPages[run]!;
    if ((this.#bitmaps[run]![index >>> 3]! & (1 << (index & 7))) === 0) return 0;
    return this.#addresses[run]! + index * this.#pageSize;
  }

  /** See {@linkcode PageLocator.list}. */
  list(page: number, memory: Residency): void {
    const address = this.locate(page);
    if (address !== 0) memory.add(address, this.#pageSize);
  }
}
