/**
 * Pages at fixed places with a bitmap of those that are there: mapped-ram files
 * (docs/protocol.md section 6; QEMU docs/devel/migration/mapped-ram.rst).
 */

import type { Residency } from "../ffi/residency.ts";
import { copyWords, showBytes, type ShownBytes } from "./file_window.ts";
import type { StoredFile } from "./stored_file.ts";

/** Where a block's pages lie. */
export interface MappedRun {
  /** Number of the first page. */
  readonly firstPage: number;
  /** Where the first page lies in the image, in bytes. */
  readonly pagesOffset: number;
}

/** Runs of pages. Plain data, for `postMessage`; addresses are valid until the image is closed. */
export interface MappedRamPages {
  readonly kind: "mapped-ram";
  /** The image's file; absent when it lies in memory. */
  readonly file?: StoredFile | undefined;
  /** Address of the image's first byte. */
  readonly imageAddress: number;
  /** Bytes of the image. */
  readonly imageLength: number;
  /**
   * Shared memory of the bitmap of pages that the file holds, by their numbers. A copy: each look at the
   * file would be a system call.
   */
  readonly present: SharedArrayBuffer;
  /** Runs by rising page number, one a RAM block. */
  readonly runs: readonly MappedRun[];
  /** Bytes of a page. */
  readonly pageSize: number;
}

/** Finds the pages of runs by their bits. */
export class MappedRamLocator {
  readonly #firstPages: readonly number[];
  readonly #addresses: readonly number[];
  readonly #present: Uint8Array;
  readonly #bytes: ShownBytes;
  readonly #imageAddress: number;
  readonly #pageSize: number;

  /** @param pages runs that lie inside the image */
  constructor(pages: MappedRamPages) {
    const { file, imageAddress, imageLength, runs } = pages;
    this.#firstPages = runs.map((run) => run.firstPage);
    this.#addresses = runs.map((run) => imageAddress + run.pagesOffset);
    this.#present = new Uint8Array(pages.present);
    this.#bytes = showBytes(file, imageAddress, imageLength);
    this.#imageAddress = imageAddress;
    this.#pageSize = pages.pageSize;
  }

  /** See {@linkcode PageLocator.locate}. */
  locate(page: number): number {
    if ((this.#present[page >>> 3]! & (1 << (page & 7))) === 0) return 0;
    let run = this.#firstPages.length - 1;
    while (this.#firstPages[run]! > page) run--;
    return this.#addresses[run]! + (page - this.#firstPages[run]!) * this.#pageSize;
  }

  /** See {@linkcode PageLocator.copy}. */
  copy(address: number, words: Int32Array, index: number): void {
    copyWords(this.#bytes, address - this.#imageAddress, this.#pageSize, words, index);
  }

  /** See {@linkcode PageLocator.list}. */
  list(page: number, memory: Residency): void {
    const address = this.locate(page);
    if (address !== 0) memory.add(address, this.#pageSize);
  }
}
