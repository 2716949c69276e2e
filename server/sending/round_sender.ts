/** Sending dirty pages in rounds, before the guest runs at the destination: each page once a round. */

import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { ELEMENT } from "../../migration/protocol/constants.ts";
import type { Steps } from "../../migration/threads/task.ts";
import type { SteppedSender } from "../../channel/stepped_sender.ts";
import type { PageRecords } from "./page_records.ts";
import type { NextAct, PageSaver } from "./page_saver.ts";
import type { SenderInit } from "./sender_init.ts";
import type { SourceState } from "./source_state.ts";
import type { Turns } from "./turns.ts";

/** Whose pages they are. */
export interface RoundPages {
  /** Whether a page can be read without waiting for a disk. */
  atHand(page: number): boolean;
  /** A page is about to be read, and no longer dirty. */
  take(page: number): void;
}

/** What it is made from. */
export interface RoundSenderInit {
  /** The `ram` section's id. */
  readonly sectionId: number;
  readonly state: SourceState;
  readonly dirty: PageBitmap;
  readonly pages: RoundPages;
  readonly records: PageRecords;
  readonly saver: PageSaver;
  readonly main: SteppedSender;
  readonly turns: Turns;
  /** Called with bytes that were sent, as soon as that is known. */
  readonly count: (bytes: number) => void;
}

/** How a batch ended: there are more pages; none is left; the next must be read first; told to stop. */
export type BatchEnd = "more" | "end" | "disk" | "stop";

/** Bytes that go beside the batch in one call, at most: then other sessions have their turns. */
const MOST_BESIDE = 1 << 20;
/** Zero pages that go into the batch in one call, at most, where the others go beside it. */
const MOST_ZERO_PAGES = 256;

/** Pages in a batch: 1 MiB for one call. */
const BATCH_PAGES = 256;
/** Where it has zero pages alone: old destinations wait for all channels behind each batch. */
const ZERO_BATCH_PAGES = 4096;

/** Pages of a batch, at most. */
export function batchPages({ multifd }: Pick<SenderInit, "multifd">): number {
  return multifd === undefined ? BATCH_PAGES : ZERO_BATCH_PAGES;
}

/** Goes through the dirty pages and sends them, in batches, on whatever channels the saver has. */
export class RoundSender {
  readonly #init: RoundSenderInit;
  /** Where the round stands. */
  #cursor = 0;
  /** Whether a section of the batch is open. */
  #begun = false;
  #pages = 0;
  #bytes = 0;
  #besidePages = 0;
  #besideBytes = 0;

  /** @param init what it is made from */
  constructor(init: RoundSenderInit) {
    this.#init = init;
  }

  /** Pages with content that this round sent. */
  get pages(): number {
    return this.#pages;
  }

  /** Bytes that all of its pages took. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The page that comes next, or one before it. */
  get cursor(): number {
    return this.#cursor;
  }

  /** Bytes that were sent, and that the destination's host has not acknowledged. */
  get unacknowledged(): number {
    const { main, saver } = this.#init;
    return main.end.unacknowledged + (saver.beside?.unacknowledged ?? 0);
  }

  /** Starts from the first page. */
  begin(): void {
    this.#cursor = 0;
    this.#pages = 0;
    this.#bytes = 0;
  }

  /**
   * Sends the next dirty pages of the round, and at its end those on their way.
   *
   * @param most bytes of the batch; one page goes in any case
   */
  *send(most: number): Steps<BatchEnd> {
    const { dirty, saver, state, turns, records } = this.#init;
    const { beside } = saver;
    const before = beside?.bytes ?? 0;
    this.#open();
    const start = records.length;
    const limit = beside === undefined ? most : before + Math.min(most, MOST_BESIDE);
    let act = this.#fill(limit, start);
    for (; act === "wait"; act = this.#fill(limit, start)) yield* turns.pause();
    if (this.#cursor === dirty.length) yield* this.#settleBatch();
    const any = records.length > start || (beside !== undefined && beside.bytes > before);
    if (!(yield* this.#endBatch()) || state.stopped) return "stop";
    return any ? "more" : act === "disk" ? "disk" : "end";
  }

  /** Sends the pages on their way; false when it was told to stop first. */
  *settle(): Steps<boolean> {
    const { saver, turns, state } = this.#init;
    while (saver.outstanding > 0) {
      this.#open();
      yield* this.#settleBatch();
      if (!(yield* this.#endBatch()) || state.stopped) return false;
      yield* turns.give();
    }
    return true;
  }

  /** All is sent: ends the memory. False when it was told to stop first. */
  *finish(): Steps<boolean> {
    const { records, sectionId, saver } = this.#init;
    records.begin();
    records.openSection(ELEMENT.SECTION_END, sectionId);
    saver.beside?.mark();
    yield* this.#settleBatch();
    if (!(yield* this.#sendSection())) return false;
    this.#countBeside();
    return true;
  }

  #open(): void {
    if (this.#begun) return;
    const { records, sectionId } = this.#init;
    this.#begun = true;
    records.begin();
    records.openSection(ELEMENT.SECTION_PART, sectionId);
  }

  *#settleBatch(): Steps {
    const { saver, turns } = this.#init;
    while (!saver.settle()) yield* turns.pause();
  }

  /**
   * Puts dirty pages into the batch: no generator, for what is done for each page. Called again after a
   * wait it goes on.
   *
   * @param limit bytes of the batch; or until when, of those beside it
   * @param start pages that were in the batch before
   * @returns why it ended; `"disk"` when the next page must be read first
   */
  #fill(limit: number, start: number): NextAct | "disk" {
    const { records, dirty, saver, pages } = this.#init;
    const { beside } = saver;
    let next = this.#cursor;
    let act: NextAct | "disk" = "save";
    let room = true;
    while (next < dirty.length && room) {
      const page = dirty.next(next);
      next = page < 0 ? dirty.length : page;
      if (page < 0) break;
      act = saver.prepare();
      if (act !== "save") break;
      if (!pages.atHand(page)) {
        act = "disk";
        break;
      }
      // Taken before it is read: what is written from now on makes it dirty again.
      pages.take(page);
      saver.save(page);
      next = page + 1;
      room = beside === undefined
        ? records.byteLength < limit
        : beside.bytes < limit && records.length - start < MOST_ZERO_PAGES;
    }
    this.#cursor = next;
    return act;
  }

  /** Sends the batch if it is to be sent; false when it was told to stop first. */
  *#endBatch(): Steps<boolean> {
    const { records, saver } = this.#init;
    const { beside } = saver;
    if (beside?.marksAll && records.full && !beside.marked) {
      beside.mark();
      yield* this.#settleBatch();
    }
    const due = beside === undefined ? records.length > 0 : beside.marked || records.full;
    if (due) {
      if (!(yield* this.#sendSection())) return false;
      this.#begun = false;
      this.#countBatch();
    }
    this.#countBeside();
    return true;
  }

  /**
   * Sends the section that is open. Not when it was told to stop: the pages that were waited for are not in it
   * then, nor on the channels beside it, and it would say that they are.
   */
  *#sendSection(): Steps<boolean> {
    const { records, saver, main, sectionId, state } = this.#init;
    if (state.stopped) return false;
    records.closeSection(sectionId);
    records.end();
    if (!(yield* main.send(records.gather))) return false;
    saver.sent();
    return true;
  }

  #countBatch(): void {
    const { records, state } = this.#init;
    const { pages, zeroPages, length, byteLength } = records;
    state.background.addPages(pages, zeroPages);
    state.background.addBytes(byteLength);
    this.#count(length - zeroPages, byteLength);
  }

  /** What went on other channels was counted where it was sent. */
  #countBeside(): void {
    const { saver, state } = this.#init;
    if (saver.beside === undefined) return;
    const { pages } = saver.beside;
    const { bytes } = state.multifd;
    this.#count(pages - this.#besidePages, bytes - this.#besideBytes);
    this.#besidePages = pages;
    this.#besideBytes = bytes;
  }

  #count(pages: number, bytes: number): void {
    this.#pages += pages;
    this.#bytes += bytes;
    this.#init.count(bytes);
  }
}
