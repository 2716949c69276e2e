/** Which pages are here: the answers that a source wants before it resumes. */

import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamBlock, RamLayout } from "../../migration/memory/ram_layout.ts";
import { bitmapBytes, bitmapFromWords } from "../../migration/protocol/bitmap_codec.ts";
import { ReturnPathEncoder } from "../../migration/protocol/return_path_encoder.ts";

/** Pages of a piece, a multiple of 64: 32 KiB of bitmap, which stand for 1 GiB. */
const PIECE_PAGES = 256 * 1024;

/**
 * Encodes the receive bitmaps of blocks, each as it is when its bits are taken, in pieces: that of 1 TiB
 * has 32 MiB. A bit is set only for a page in place, and is counted in target pages also where host pages
 * are larger. The order of the answers is free (docs/protocol.md section 5).
 */
export class ReceivedBitmaps {
  readonly #layout: RamLayout;
  readonly #words: Uint32Array;
  readonly #encoder = new ReturnPathEncoder();
  readonly #wanted: RamBlock[] = [];
  /** Page of the first block wanted from which on its bits are to be encoded; -1 for its head. */
  #next = -1;

  /**
   * @param layout the blocks
   * @param received pages in place; other threads may set bits meanwhile, and clear none
   */
  constructor(layout: RamLayout, received: PageBitmap) {
    this.#layout = layout;
    this.#words = new Uint32Array(received.buffer);
  }

  /** True while something is to be encoded. */
  get pending(): boolean {
    return this.#wanted.length > 0;
  }

  /**
   * Adds a block's bitmap to what is to be encoded.
   *
   * @param index of the block
   */
  want(index: number): void {
    this.#wanted.push(this.#layout.blocks[index]!);
  }

  /** Returns the next bytes, less than 33 KiB; none when nothing is pending. */
  next(): Uint8Array {
    const block = this.#wanted[0];
    if (block === undefined) return this.#encoder.take();
    const { name, firstPage, pageCount } = block;
    const encoder = this.#encoder;
    if (this.#next < 0) {
      encoder.receivedBitmap(name, bitmapBytes(pageCount));
      this.#next = 0;
    }
    const pages = Math.min(PIECE_PAGES, pageCount - this.#next);
    const bits = bitmapFromWords(this.#words, pages, (firstPage + this.#next) / 32);
    encoder.receivedBitmapData(bits, 0, bits.length);
    this.#next += pages;
    if (this.#next === pageCount) {
      encoder.receivedBitmapEnd();
      this.#wanted.shift();
      this.#next = -1;
    }
    return encoder.take();
  }

  /** Forgets what was wanted: the connection is gone. */
  clear(): void {
    this.#wanted.length = 0;
    this.#next = -1;
  }
}
