/** Where a channel's pages go: into the guest's memory, each once. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { MemoryWindows } from "../../ffi/memory_windows.ts";
import { PagePlacer, Placement } from "../../ffi/page_placer.ts";
import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamBlock } from "../../migration/memory/ram_layout.ts";
import { pageNumber } from "../incoming/page_number.ts";
import type { BlockMap } from "./block_map.ts";
import type { DestinationState } from "./destination_state.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import type { ReceiveBuffer } from "../../channel/receive_buffer.ts";

/** Called for a page in place that somebody asked for; `now` in monotonic nanoseconds. */
export type OnLanded = (page: number, now: number) => void;

/** Bitmaps over the pages of all blocks, shared by the threads that place them. */
export interface PageBitmaps {
  /** Pages in place. */
  readonly received: PageBitmap;
  /** Pages that some thread places or has placed: whoever set the bit, and nobody else. */
  readonly claimed: PageBitmap;
  /** Pages asked for. */
  readonly requested: PageBitmap;
}

/**
 * Pages placed by one ioctl. UFFDIO_COPY of 16 pages, copied together first because there is a header
 * between two pages of a stream, costs 0.79 us a page where one at a time costs 1.10; more gain
 * nothing (bench:placement).
 */
const BATCH_PAGES = 16;

/**
 * Places the pages of one channel, on one thread, through the userfaultfd. UFFDIO_COPY is the fastest
 * way into shared memory too: it makes the page, fills it, and maps it, where writing through a second
 * mapping faults, clears the page first, and still needs UFFDIO_CONTINUE (2.3 times the time). That
 * way is left for what COPY refuses: a page in the page cache that was discarded or nobody received.
 *
 * Nobody runs on the memory before {@linkcode PageSink.listen}: a page that comes again replaces the
 * one in place, by a plain write. Afterwards a page in place is never touched.
 */
export class PageSink {
  readonly #map: BlockMap;
  readonly #state: DestinationState;
  readonly #placer: PagePlacer;
  readonly #received: PageBitmap;
  readonly #claimed: PageBitmap;
  readonly #requested: PageBitmap;
  readonly #channel: "main" | "preempt";
  readonly #onLanded: OnLanded;
  readonly #pageSize: number;
  readonly #buffer: ReceiveBuffer;
  #listening = false;
  #block: RamBlock | undefined;
  #blockAddress = 0;
  /** Of each block, where its pages can be touched without a fault. */
  readonly #aliases: readonly MemoryWindows[];
  #alias: MemoryWindows | undefined;
  // A run of pages not placed yet, all data or all zero: zero pages in a row have no limit but the
  // piece of input, one ioctl for them is seven times cheaper a page.
  #runStart = 0;
  #runPages = 0;
  #runIsZero = false;
  /** Address of the run's content, where that stays in one piece in what the channel is received into; 0: gathered. */
  #runFrom = 0;

  /**
   * @param map where the blocks lie; registered with the userfaultfd
   * @param state counters
   * @param uffd the userfaultfd, owned elsewhere
   * @param bitmaps which pages are where
   * @param channel whose pages these are
   * @param onLanded called after a requested page was placed
   * @param buffer what the channel is received into
   */
  constructor(
    map: BlockMap,
    state: DestinationState,
    uffd: number,
    bitmaps: PageBitmaps,
    channel: "main" | "preempt",
    onLanded: OnLanded,
    buffer: ReceiveBuffer,
  ) {
    this.#map = map;
    this.#state = state;
    this.#placer = new PagePlacer(uffd);
    this.#received = bitmaps.received;
    this.#claimed = bitmaps.claimed;
    this.#requested = bitmaps.requested;
    this.#channel = channel;
    this.#onLanded = onLanded;
    this.#pageSize = map.layout.targetPageSize;
    this.#buffer = buffer;
    this.#aliases = map.layout.blocks.map(({ usedLength }, index) =>
      new MemoryWindows(map.aliasOf(index), usedLength)
    );
  }

  /** From here on a page in place is left as it is. */
  listen(): void {
    this.flush();
    this.#listening = true;
  }

  /** Selects the block of the pages that follow, by its index. */
  select(index: number): void {
    this.flush();
    this.#block = this.#map.layout.blocks[index]!;
    this.#blockAddress = this.#map.addressOf(index);
    this.#alias = this.#aliases[index]!;
  }

  /**
   * Places a page, together with others that follow it; {@linkcode PageSink.flush} ends the wait.
   *
   * @param offset bytes from the start of the selected block
   * @param bytes where the content lies, during the call
   * @param at index of its first byte
   * @param address of it in what the channel is received into, where it stays until
   * {@linkcode PageSink.flush}; 0: it may not
   */
  page(offset: number, bytes: Uint8Array, at: number, address = 0): void {
    const page = pageNumber(this.#block, offset, this.#pageSize);
    if (!this.#continues(offset, false) || !this.#hasRoomFor(address)) this.flush();
    const pageSize = this.#pageSize;
    const replaces = !this.#listening && this.#received.has(page);
    if (address === 0 || replaces) {
      const batchAt = address === 0 ? this.#runPages * pageSize : 0;
      this.#buffer.gather(bytes, at, pageSize, batchAt);
      if (replaces) return this.#write(batchAt, offset);
    }
    if (this.#runPages++ === 0) {
      this.#begin(offset, false);
      this.#runFrom = address;
    }
    if (this.#requested.has(page)) this.flush(); // somebody waits for it
  }

  /** Places a zero page, together with others that follow it; {@linkcode PageSink.flush} ends the wait. */
  zeroPage(offset: number): void {
    const page = pageNumber(this.#block, offset, this.#pageSize);
    if (!this.#continues(offset, true)) this.flush();
    if (!this.#listening && this.#received.has(page)) {
      return this.#clear(offset);
    }
    if (this.#runPages++ === 0) this.#begin(offset, true);
    if (this.#requested.has(page)) this.flush();
  }

  /**
   * Returns the bytes of a page in place, to be changed before {@linkcode PageSink.listen}; undefined
   * for one that never came.
   *
   * @throws {MigrationError} when there is no such page
   */
  present(offset: number): Uint8Array | undefined {
    const page = pageNumber(this.#block, offset, this.#pageSize);
    this.flush();
    if (!this.#received.has(page)) return undefined;
    const index = this.#alias!.show(offset);
    return this.#alias!.bytes.subarray(index, index + this.#pageSize);
  }

  /** Places the pages gathered so far: at the end of every piece of input. */
  flush(): void {
    if (this.#runPages === 0) return;
    const start = this.#runStart;
    const first = this.#block!.firstPage + start / this.#pageSize;
    const end = first + this.#runPages;
    this.#runPages = 0;
    for (let page = first; page < end;) {
      // Claimed before anything is written: the other channel may bring the same page.
      let count = 0;
      while (page + count < end && this.#claimed.add(page + count)) count++;
      if (count > 0) this.#place(page, count, page - first);
      page += count;
      if (page < end) {
        this.#state.addDuplicates(this.#channel, 1);
        page++;
      }
    }
  }

  #continues(offset: number, zero: boolean): boolean {
    return this.#runIsZero === zero && offset === this.#runStart + this.#runPages * this.#pageSize;
  }

  /** Whether the run's content goes on with a page's, in one piece. */
  #hasRoomFor(address: number): boolean {
    if (this.#runPages === 0) return true;
    if (address === 0) return this.#runFrom === 0 && this.#runPages < BATCH_PAGES;
    return this.#runFrom !== 0 && address === this.#runFrom + this.#runPages * this.#pageSize;
  }

  #begin(offset: number, zero: boolean): void {
    this.#runStart = offset;
    this.#runIsZero = zero;
  }

  /**
   * @param page the first of `count` pages that are this thread's to place
   * @param skip pages of the run before it
   */
  #place(page: number, count: number, skip: number): void {
    const pageSize = this.#pageSize;
    const start = this.#runFrom === 0 ? this.#buffer.gatherAddress : this.#runFrom;
    let from = start + skip * pageSize;
    let offset = this.#runStart + skip * pageSize;
    let left = count;
    while (left > 0) {
      const to = this.#blockAddress + offset;
      const length = left * pageSize;
      const placement = this.#runIsZero
        ? this.#placer.zero(to, length)
        : this.#placer.copy(to, from, length);
      if (placement === Placement.GONE) throw memoryVanished();
      if (placement === Placement.PRESENT) {
        this.#placeCached(offset, from);
      }
      // A run stops at a page that is there: that one is written, the rest tried again.
      const placed = placement === Placement.PLACED
        ? left
        : placement === Placement.PRESENT
        ? 1
        : this.#placer.placedBytes / pageSize;
      this.#landed(page, placed);
      page += placed;
      left -= placed;
      offset += placed * pageSize;
      from += placed * pageSize;
    }
  }

  /** Places a page that is in the page cache, as zeros or with what it held before its discard. */
  #placeCached(offset: number, from: number): void {
    // A thread that died may have placed it and not have said so: private memory gets a page whole or
    // not at all.
    if (!this.#map.shared && this.#state.breaks > 0) return;
    if (!this.#map.shared) {
      throw new MigrationError(
        "GUEST_FAILED",
        `Guest memory has a page that did not come from the source: at ${offset} of ${
          this.#block!.name
        }`,
      );
    }
    if (this.#runIsZero) this.#clear(offset);
    else this.#write(this.#gathered(from), offset);
    const pageSize = this.#pageSize;
    const to = this.#blockAddress + offset;
    let placement: Placement;
    do placement = this.#placer.continue(to, pageSize); while (placement === Placement.RETRY);
    if (placement === Placement.GONE) throw memoryVanished();
    if (placement === Placement.PRESENT) this.#placer.wake(to, pageSize);
  }

  /** Returns where a page of the run lies in the room for pages, to which it is brought if need be. */
  #gathered(from: number): number {
    const { bytes, address, gatherAddress } = this.#buffer;
    if (this.#runFrom === 0) return from - gatherAddress;
    this.#buffer.gather(bytes, from - address, this.#pageSize, 0);
    return 0;
  }

  /** Writes a gathered page through the alias. */
  #write(batchAt: number, offset: number): void {
    const alias = this.#alias!;
    const index = alias.show(offset);
    this.#buffer.writeTo(batchAt, this.#pageSize, alias.words, index / 4);
  }

  /** Clears a page through the alias. */
  #clear(offset: number): void {
    const alias = this.#alias!;
    const index = alias.show(offset);
    alias.bytes.fill(0, index, index + this.#pageSize);
  }

  #landed(first: number, count: number): void {
    this.#received.fill(first, count);
    this.#state.addReceived(count);
    for (let page = first; page < first + count; page++) {
      if (this.#requested.has(page)) this.#onLanded(page, monotonicNanoseconds());
    }
  }
}

/** Why pages cannot be placed any more. */
export function memoryVanished(): MigrationError {
  return new MigrationError("GUEST_FAILED", "Guest memory vanished while its pages arrived");
}
