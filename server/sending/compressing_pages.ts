/** Multi-thread compression, as the thread sees it that sends the pages. */

import { viewMemory } from "../../ffi/memory.ts";
import { SLOT_BYTES } from "../../migration/compression.ts";
import { WorkRings } from "../../migration/threads/work_rings.ts";
import type { CompressionCounters } from "../compression/compression_counters.ts";
import {
  BYTES_WORD,
  type CompressionInit,
  FAILED,
  PAGE_WORD,
} from "../compression/compression_slots.ts";
import { MultifdPages } from "../multifd/multifd_pages.ts";
import type { PageRecords } from "./page_records.ts";
import { type NextAct, type PageSaver, PlainPages } from "./page_saver.ts";
import type { SenderInit } from "./sender_init.ts";
import type { SourceState } from "./source_state.ts";

/**
 * Pages of a batch that go as they are because all threads are busy, at most: sending them takes about
 * as long as the threads need for the pages that they have. In a batch of 256 the threads would rest for
 * most of that time (4 threads at 1 Gbit/s: 93 % of the pages went as they are instead of 58 %).
 */
export const MOST_BUSY = 16;

/**
 * Gives pages to the compression threads and puts what they made of them into batches. Never compresses
 * itself. One thread at a time has it; pages come out in any order, which is why they must all be out
 * before a page is sent a second time.
 */
export class CompressingPages implements PageSaver {
  readonly #records: PageRecords;
  readonly #counters: CompressionCounters;
  readonly #rings: WorkRings;
  readonly #pageSize: number;
  readonly #memory: number;
  readonly #memoryWords: Int32Array;
  readonly #wait: boolean;
  /** The slot for the next page that is not zero; -1: none is free. */
  #slot = -1;
  /** Slots whose memory the batch is sent from. */
  #held = 0;
  /** Pages in the batch that no thread was free for. */
  #busy = 0;

  /**
   * @param records the channel's batch
   * @param init the threads, told to stop when the migration is
   * @param pageSize bytes of a target page
   * @param counters what becomes of the pages
   */
  constructor(
    records: PageRecords,
    init: CompressionInit,
    pageSize: number,
    counters: CompressionCounters,
  ) {
    this.#records = records;
    this.#counters = counters;
    this.#rings = new WorkRings(init.shape, init.rings);
    this.#pageSize = pageSize;
    this.#memory = init.memory;
    const bytes = viewMemory(init.memory, this.#rings.slots * SLOT_BYTES);
    this.#memoryWords = new Int32Array(bytes.buffer);
    this.#wait = init.wait;
  }

  get outstanding(): number {
    return this.#rings.outstanding;
  }

  get wakeFd(): number {
    return this.#rings.wakeFd;
  }

  prepare(): NextAct {
    while (!this.#records.full) {
      if (this.#slot < 0) this.#slot = this.#rings.reserve();
      if (this.#slot >= 0) return "save";
      // Taking results may leave room for requests, but not for ever: half of a thread's slots are for
      // results, and free again only when the batch that they went into is sent.
      if (this.#take()) continue;
      if (!this.#rings.allBusy && this.#held > 0) return "send";
      if (this.outstanding === 0) return "save";
      if (!this.#wait) return this.#busy < MOST_BUSY ? "save" : "send";
      if (this.#rings.stopped) return "send";
      if (this.#rings.requestWake()) return "wait";
    }
    return "send";
  }

  /** The ways to save a page in their order: zero, compressed, as it is. */
  save(page: number): void {
    const address = this.#records.locate(page);
    if (this.#saveZero(page, address) || this.#saveCompressed(page, address)) return;
    this.#busy++;
    this.#counters.addBusy();
    this.#records.addNormal(page, address);
  }

  settle(): boolean {
    while (true) {
      this.#take();
      if (this.outstanding === 0 || this.#records.full || this.#rings.stopped) return true;
      if (this.#rings.requestWake()) return false;
    }
  }

  sent(): void {
    this.#rings.release();
    this.#held = 0;
    this.#busy = 0;
  }

  #saveZero(page: number, address: number): boolean {
    if (address !== 0) return false;
    this.#records.addZero(page);
    return true;
  }

  /** Copies the page, since the guest may write to it at any moment, and submits the copy. */
  #saveCompressed(page: number, address: number): boolean {
    const slot = this.#slot;
    if (slot < 0) return false;
    this.#slot = -1;
    this.#records.copy(address, this.#memoryWords, slot * (SLOT_BYTES / 4));
    const { words } = this.#rings;
    words[this.#rings.at(slot) + PAGE_WORD] = page;
    this.#rings.submit();
    return true;
  }

  /** Puts the results that are there into the batch; false when there was none. */
  #take(): boolean {
    let any = false;
    while (!this.#records.full) {
      const slot = this.#rings.take();
      if (slot >= 0) this.#add(slot);
      else if (!this.#takeAbandoned()) break;
      any = true;
    }
    return any;
  }

  /** Adds a page that a thread left behind which died: the copy is as whole as before. */
  #takeAbandoned(): boolean {
    const slot = this.#rings.abandoned();
    if (slot < 0) return false;
    const { words } = this.#rings;
    const at = this.#rings.at(slot);
    words[at + BYTES_WORD] = FAILED;
    this.#add(slot);
    return true;
  }

  #add(slot: number): void {
    const { words } = this.#rings;
    const at = this.#rings.at(slot);
    const page = words[at + PAGE_WORD]!;
    const bytes = words[at + BYTES_WORD]!;
    const copy = this.#memory + slot * SLOT_BYTES;
    this.#held++;
    if (bytes > 0) {
      this.#counters.addCompressed(bytes);
      this.#records.addCompressed(page, copy + this.#pageSize, bytes);
      return;
    }
    if (bytes === FAILED) this.#counters.addFailed();
    else this.#counters.addIncompressible();
    this.#records.addNormal(page, copy);
  }
}

/** Makes the saver of pages that nobody asked for, as the migration was asked for. */
export function pageSaver(init: SenderInit, records: PageRecords, state: SourceState): PageSaver {
  const { compression, multifd, targetPageSize } = init;
  if (multifd !== undefined) return new MultifdPages(records, multifd, init, state);
  if (compression === undefined) return new PlainPages(records);
  return new CompressingPages(records, compression, targetPageSize, state.compression);
}
