/** The pages of a live region, read where the guest writes them. */

import { seekData, seekHole } from "../ffi/file_holes.ts";
import { viewMemory } from "../ffi/memory.ts";
import { MemoryReader } from "../ffi/memory_reader.ts";
import type { GuestBlock } from "../migration/memory/guest_block.ts";
import { PageBitmap } from "../migration/memory/page_bitmap.ts";
import { isZeroPage } from "./zero_page.ts";

/** Where a live region's pages are: plain data, for `postMessage`. Valid until it is closed. */
export interface LivePages {
  readonly kind: "live";
  /** The blocks. */
  readonly blocks: readonly (GuestBlock & { readonly firstPage: number })[];
  /** Bytes of a target page. */
  readonly pageSize: number;
  /** Shared memory of the bitmap of pages that the destination has, in whatever version. */
  readonly sent: SharedArrayBuffer;
  /** Page numbers are below this. */
  readonly pageLimit: number;
}

/** A part of a block, in bytes from the block's begin. */
interface Extent {
  start: number;
  end: number;
  isHole: boolean;
}

/**
 * Finds the pages of a live region and tells which are zero, by reading them; a page that nobody ever
 * touched is not read, which would make it exist. While the guest runs an answer may be out of date
 * as soon as it is given: the dirty bitmap says so at its next collection.
 */
export class LiveLocator {
  readonly #blocks: LivePages["blocks"];
  readonly #words: readonly Int32Array[];
  readonly #sent: PageBitmap;
  readonly #reader = new MemoryReader();
  readonly #pageSize: number;
  // Of each block the part last looked up that is all data or all hole. The kernel takes as long to
  // find the end of a part as it has pages, 5 ms for 2 GiB: where pages of two blocks are sent in turn
  // that would be longer than sending them takes.
  readonly #extents: readonly Extent[];

  /** @param pages blocks that stay mapped */
  constructor(pages: LivePages) {
    this.#blocks = pages.blocks;
    this.#words = pages.blocks.map(({ address, length }) =>
      new Int32Array(viewMemory(address, length).buffer)
    );
    this.#sent = new PageBitmap(pages.pageLimit, pages.sent);
    this.#extents = pages.blocks.map(() => ({ start: 0, end: 0, isHole: false }));
    this.#pageSize = pages.pageSize;
  }

  /** See {@linkcode PageLocator.locate}. */
  locate(page: number): number {
    let index = this.#blocks.length - 1;
    while (this.#blocks[index]!.firstPage > page) index--;
    const block = this.#blocks[index]!;
    const offset = (page - block.firstPage) * this.#pageSize;
    // What was sent and is to be sent again was written: the kernel need not be asked.
    if (!this.#sent.has(page) && this.#isHole(index, offset)) return 0;
    if (isZeroPage(this.#words[index]!, offset / 4, this.#pageSize / 4)) return 0;
    return block.address + offset;
  }

  /** See {@linkcode PageLocator.copy}. */
  copy(address: number, words: Int32Array, index: number): void {
    this.#reader.copy(address, this.#pageSize, words, index);
  }

  /** See {@linkcode PageLocator.list}: all of it is memory. */
  list(): void {}

  #isHole(index: number, offset: number): boolean {
    const extent = this.#extents[index]!;
    // Going back is done for single pages that are asked for: the end of their part is of no interest.
    if (offset < extent.start) return seekData(this.#blocks[index]!.fd, offset) > offset;
    if (offset >= extent.end) this.#lookUp(index, offset);
    return extent.isHole;
  }

  #lookUp(index: number, offset: number): void {
    const { fd, length } = this.#blocks[index]!;
    const extent = this.#extents[index]!;
    const data = seekData(fd, offset);
    extent.start = offset;
    extent.isHole = data > offset;
    extent.end = Math.min(data > offset ? data : seekHole(fd, offset), length);
  }
}
