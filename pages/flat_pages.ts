/** Pages that lie in the file as they lie in memory: raw images. */

import { viewMemory } from "../ffi/memory.ts";
import type { Residency } from "../ffi/residency.ts";
import { isZeroPage } from "./zero_page.ts";

/** A block's pages, one after the other. */
export interface PageRun {
  /** Number of the first page. */
  readonly firstPage: number;
  /** Where it lies in the image, in bytes, a multiple of the page. */
  readonly offset: number;
}

/** Runs of pages. Plain data, for `postMessage`; addresses are valid until the image is closed. */
export interface FlatPages {
  readonly kind: "flat";
  /** Address of the image's first byte. */
  readonly imageAddress: number;
  /** Bytes of the image. */
  readonly imageLength: number;
  /** Runs by rising page number, one a RAM block. */
  readonly runs: readonly PageRun[];
  /** Bytes of a page. */
  readonly pageSize: number;
}

/** Finds the pages of runs and tells which are zero, by reading them. */
export class FlatLocator {
  readonly #firstPages: readonly number[];
  readonly #offsets: readonly number[];
  readonly #pageSize: number;
  readonly #words: Int32Array;
  readonly #imageAddress: number;

  /** @param pages runs that lie inside the image */
  constructor(pages: FlatPages) {
    this.#firstPages = pages.runs.map((run) => run.firstPage);
    this.#offsets = pages.runs.map((run) => run.offset);
    this.#pageSize = pages.pageSize;
    this.#imageAddress = pages.imageAddress;
    // One view of all of it, however large: an index beyond 2^31 costs nothing more (64 GiB measured).
    const words = Math.floor(pages.imageLength / 4);
    this.#words = new Int32Array(viewMemory(pages.imageAddress, words * 4).buffer);
  }

  /** See {@linkcode PageLocator.locate}. */
  locate(page: number): number {
    const offset = this.#offsetOf(page);
    if (isZeroPage(this.#words, offset / 4, this.#pageSize / 4)) return 0;
    return this.#imageAddress + offset;
  }

  /** See {@linkcode PageLocator.list}. */
  list(page: number, memory: Residency): void {
    memory.add(this.#imageAddress + this.#offsetOf(page), this.#pageSize);
  }

  #offsetOf(page: number): number {
    let run = this.#firstPages.length - 1;
    while (this.#firstPages[run]! > page) run--;
    return this.#offsets[run]! + (page - this.#firstPages[run]!) * this.#pageSize;
  }
}
