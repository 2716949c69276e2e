/** What a source hears that resumes: which pages are here, that it may go on, and what is waited for. */

import type { MainHandover } from "../connecting/main_handover.ts";
import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import { ReceivedBitmaps } from "../return_path/received_bitmaps.ts";
import { ReturnPathMessage } from "../return_path/return_path_ring.ts";
import type { ReturnPathWriter } from "../return_path/return_path_writer.ts";

/** The value of an answer to RESUME: ready. */
const READY = 1;

/** Answers by one connection after the other, on the fault server's thread. */
export class RecoveryAnswers {
  readonly #handover: MainHandover;
  readonly #layout: RamLayout;
  readonly #received: PageBitmap;
  readonly #requested: PageBitmap;
  readonly #returnPath: ReturnPathWriter;
  readonly #bitmaps: ReceivedBitmaps;
  /** Pages to be asked for again, and how many of them were. */
  #again: number[] = [];
  #asked = 0;

  /**
   * @param handover what the source wants
   * @param layout the blocks
   * @param received pages in place
   * @param requested pages that somebody waits for, or waited for
   * @param returnPath where the answers go
   */
  constructor(
    handover: MainHandover,
    layout: RamLayout,
    received: PageBitmap,
    requested: PageBitmap,
    returnPath: ReturnPathWriter,
  ) {
    this.#handover = handover;
    this.#layout = layout;
    this.#received = received;
    this.#requested = requested;
    this.#returnPath = returnPath;
    this.#bitmaps = new ReceivedBitmaps(layout, received);
  }

  /** True in the middle of a bitmap: nothing else may be said. */
  get busy(): boolean {
    return this.#bitmaps.pending;
  }

  /** True while pages are to be asked for again. */
  get asking(): boolean {
    return this.#asked < this.#again.length;
  }

  /** The connection is gone: the next source gets its answers from the first. */
  clear(): void {
    this.#bitmaps.clear();
    this.#again = [];
    this.#asked = 0;
  }

  /**
   * Answers what was asked, as far as the writer has room.
   *
   * @returns true once the source may go on: from then on its pages are asked for
   */
  answer(): boolean {
    const resumed = this.#handover.resumed; // before the look at the bitmaps that it wants before
    for (let block = this.#handover.takeWanted(); block >= 0; block = this.#handover.takeWanted()) {
      this.#bitmaps.want(block);
    }
    const writer = this.#returnPath;
    while (this.#bitmaps.pending && writer.hasRoom) {
      writer.add(this.#bitmaps.next());
      writer.flush();
    }
    if (!resumed || this.#bitmaps.pending) return false;
    writer.answer(ReturnPathMessage.RESUME_ACK, READY);
    this.#findAgain();
    return true;
  }

  /**
   * Asks again for every page that somebody waits for, as far as the writer has room: a source that
   * resumes remembers no request.
   *
   * @returns how many requests were made
   */
  ask(): number {
    const writer = this.#returnPath;
    const { targetPageSize, blocks } = this.#layout;
    const before = this.#asked;
    while (this.asking) {
      if (!writer.hasRoom) writer.flush();
      if (!writer.hasRoom) break;
      const page = this.#again[this.#asked++]!;
      const block = this.#layout.blockOf(page);
      const offset = (page - block.firstPage) * targetPageSize;
      writer.request(blocks.indexOf(block), offset, block.pageSize);
    }
    return this.#asked - before;
  }

  /** Not one by one as they are asked for: a page that is missed meanwhile is asked for at once, and once. */
  #findAgain(): void {
    this.#again = [];
    this.#asked = 0;
    for (let page = this.#requested.next(0); page >= 0; page = this.#requested.next(page + 1)) {
      if (!this.#received.has(page)) this.#again.push(page);
    }
  }
}
