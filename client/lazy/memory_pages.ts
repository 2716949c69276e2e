/** The memory that an image holds, as one row of bytes: where each of its pages is. */

import type { Residency } from "../../ffi/residency.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import { PageLocator, type PageSource } from "../../pages/page_locator.ts";
import { BASE_PAGE } from "./region.ts";

/** A part of the memory whose pages have numbers in a row. */
export interface MemorySpan {
  /** First byte in the memory. */
  readonly offset: number;
  /** Number of its first page in the image. */
  readonly firstPage: number;
}

/** The memory of an image. Plain data, for `postMessage`; valid until the image is closed. */
export interface MemoryPages {
  /** Where the image's pages are. */
  readonly pages: PageSource;
  /** Parts of the memory by rising offset, from 0 on. */
  readonly spans: readonly MemorySpan[];
  /** Bytes of the memory. */
  readonly length: number;
}

/** How RAM blocks follow each other in the memory. */
export function spansOf({ blocks }: RamLayout): Pick<MemoryPages, "spans" | "length"> {
  let length = 0;
  const spans = blocks.map(({ firstPage, usedLength }) => {
    const span = { offset: length, firstPage };
    length += usedLength;
    return span;
  });
  return { spans, length };
}

/** Finds pages by their offset in the memory. One task's own; looking up allocates nothing. */
export class MemoryLocator {
  readonly #locator: PageLocator;
  readonly #spans: readonly MemorySpan[];
  /** Address of the memory's first byte, where all of it lies in a row as it is. */
  readonly #flatAddress: number;

  /** @param memory where the pages are */
  constructor({ pages, spans }: MemoryPages) {
    this.#locator = new PageLocator(pages);
    this.#spans = spans;
    const inRow = pages.kind === "flat" && pages.runs.length === 1 && spans.length === 1;
    this.#flatAddress = inRow ? pages.imageAddress + pages.runs[0]!.offset : 0;
  }

  /**
   * See {@linkcode PageLocator.check}.
   *
   * @throws {MigrationError} `IMAGE_CHANGED`, or `IMAGE_UNREADABLE`
   */
  check(): void {
    this.#locator.check();
  }

  /** See {@linkcode PageLocator.reasonOf}. */
  reasonOf(error: unknown): unknown {
    return this.#locator.reasonOf(error);
  }

  /**
   * Returns the address of the bytes from an offset on where they lie in a row for as long as one likes, zeros
   * too; 0 where they do not.
   */
  rowAt(offset: number): number {
    return this.#flatAddress === 0 ? 0 : this.#flatAddress + offset;
  }

  /**
   * Returns the address of a page's bytes for system calls, or 0 when it is zero.
   *
   * @param offset in the memory, a multiple of the base page
   * @throws {MigrationError} `IMAGE_UNREADABLE`
   */
  locate(offset: number): number {
    return this.#locator.locate(this.#pageAt(offset));
  }

  /** See {@linkcode PageLocator.copy}. */
  copy(address: number, words: Int32Array, index: number): void {
    this.#locator.copy(address, words, index);
  }

  /** Adds what is read when a page is located and placed; see {@linkcode PageLocator.list}. */
  list(offset: number, memory: Residency): void {
    this.#locator.list(this.#pageAt(offset), memory);
  }

  #pageAt(offset: number): number {
    const spans = this.#spans;
    let index = spans.length - 1;
    while (spans[index]!.offset > offset) index--;
    const span = spans[index]!;
    return span.firstPage + (offset - span.offset) / BASE_PAGE;
  }
}
