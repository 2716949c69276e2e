/** Pages that lie in the file as they lie in memory: raw images. */

import type { Residency } from "../ffi/residency.ts";
import { copyWords, showBytes, type ShownBytes } from "./file_window.ts";
import type { StoredFile } from "./stored_file.ts";
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
  /** The image's file; absent when it lies in memory. */
  readonly file?: StoredFile | undefined;
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
  readonly #bytes: ShownBytes;
  readonly #imageAddress: number;
  readonly #imageLength: number;

  /** @param pages runs that lie inside the image */
  constructor(pages: FlatPages) {
    this.#firstPages = pages.runs.map((run) => run.firstPage);
    this.#offsets = pages.runs.map((run) => run.offset);
    this.#pageSize = pages.pageSize;
    this.#imageAddress = pages.imageAddress;
    this.#imageLength = pages.imageLength;
    this.#bytes = showBytes(pages.file, pages.imageAddress, pages.imageLength);
  }

  /** See {@linkcode PageLocator.locate}. */
  locate(page: number): number {
    const offset = this.#offsetOf(page);
    const at = this.#bytes.show(offset, this.#pageSize);
    if (isZeroPage(this.#bytes.words, at / 4, this.#pageSize / 4)) return 0;
    return this.#imageAddress + offset;
  }

  /** See {@linkcode PageLocator.copy}. */
  copy(address: number, words: Int32Array, index: number): void {
    copyWords(this.#bytes, address - this.#imageAddress, this.#pageSize, words, index);
  }

  /** See {@linkcode PageLocator.list}. */
  list(page: number, memory: Residency): void {
    const offset = this.#offsetOf(page);
    // The number of a gap behind the last block: what lies there in memory is somebody else's.
    if (offset >= this.#imageLength) return;
    memory.add(this.#imageAddress + offset, this.#pageSize);
  }

  #offsetOf(page: number): number {
    let run = this.#firstPages.length - 1;
    while (this.#firstPages[run]! > page) run--;
    return this.#offsets[run]! + (page - this.#firstPages[run]!) * this.#pageSize;
  }
}
