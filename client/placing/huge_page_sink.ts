/** Where a channel's pages of huge host pages go: gathered, and placed one host page at a time. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { MemoryWindows } from "../../ffi/memory_windows.ts";
import { PagePlacer, Placement } from "../../ffi/page_placer.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamBlock, RamLayout } from "../../migration/memory/ram_layout.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { pageNumber } from "../incoming/page_number.ts";
import type { BlockMap } from "./block_map.ts";
import type { DestinationState } from "./destination_state.ts";
import { memoryVanished, type OnLanded, type PageBitmaps } from "./page_sink.ts";
import { GATHER_BYTES, type ReceiveBuffer } from "../../channel/receive_buffer.ts";

/**
 * Places the pages of one channel in blocks of huge pages, on one thread. The kernel places a huge
 * page as a whole or not at all, so after {@linkcode HugePageSink.listen} the target pages of one are
 * gathered until all are there; QEMU sends them on one channel, with nothing between them
 * (docs/protocol.md section 3). Before, the memory is not registered with the userfaultfd and written
 * as pages come.
 *
 * One that is larger than the room to gather it in, 1 GiB, is written into the page cache as its pages come,
 * by a mapping that does not fault, and mapped once it is whole: it takes no second GiB and is not copied while
 * the guest stands still. Whoever begins such a page has it: its first target page is claimed then, and those
 * that another channel brings are left out. The others are claimed when it is whole.
 */
export class HugePageSink {
  readonly #map: BlockMap;
  readonly #state: DestinationState;
  readonly #placer: PagePlacer;
  readonly #bitmaps: PageBitmaps;
  readonly #channel: "main" | "preempt";
  readonly #onLanded: OnLanded;
  readonly #pageSize: number;
  #listening = false;
  #block: RamBlock | undefined;
  #blockAddress = 0;
  #blockAlias = 0;
  readonly #memories: readonly MemoryWindows[];
  /** The selected block, written before LISTEN. */
  #memory: MemoryWindows | undefined;
  /** Each block where it is written without a fault. */
  readonly #caches: readonly MemoryWindows[];
  #cache: MemoryWindows | undefined;
  // The host page being gathered.
  readonly #buffer: ReceiveBuffer;
  readonly #here: PageBitmap;
  #open: RamBlock | undefined;
  #openStart = 0;
  #missing = 0;
  /** Whether it is too large to be gathered. */
  #inCache = false;
  /** Whether it is this channel's, when it is. */
  #mine = true;

  /**
   * @param map where the blocks lie
   * @param state counters
   * @param uffd the userfaultfd, owned elsewhere
   * @param bitmaps which pages are where; of a host page asked for, its first page's bit counts
   * @param channel whose pages these are
   * @param onLanded called with the first page of a requested host page that was placed
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
    this.#bitmaps = bitmaps;
    this.#channel = channel;
    this.#onLanded = onLanded;
    this.#pageSize = map.layout.targetPageSize;
    this.#buffer = buffer;
    this.#memories = map.layout.blocks.map(({ usedLength }, index) =>
      new MemoryWindows(map.addressOf(index), usedLength)
    );
    this.#caches = map.layout.blocks.map(({ usedLength }, index) =>
      new MemoryWindows(map.aliasOf(index), usedLength)
    );
    const most = Math.max(...map.layout.blocks.map((block) => block.pagesPerHostPage));
    this.#here = new PageBitmap(Math.ceil(most / 32) * 32);
  }

  /** From here on a host page in place is left as it is; see {@linkcode requireWholeHostPages}. */
  listen(): void {
    this.#listening = true;
  }

  /** The channel broke: the host page that was being gathered comes again, from its first byte. */
  restart(): void {
    if (this.#missing > 0 && this.#inCache && this.#mine) {
      const { firstPage } = this.#open!;
      this.#bitmaps.claimed.clear(firstPage + this.#openStart / this.#pageSize, 1);
    }
    this.#missing = 0;
  }

  /** Selects the block of the pages that follow, one of huge pages, by its index. */
  select(index: number): void {
    this.#block = this.#map.layout.blocks[index]!;
    this.#blockAddress = this.#map.addressOf(index);
    this.#blockAlias = this.#map.aliasOf(index);
    this.#memory = this.#memories[index]!;
    this.#cache = this.#caches[index]!;
  }

  /**
   * Takes a page.
   *
   * @param offset bytes from the start of the selected block
   * @param bytes where the content lies, during the call
   * @param at index of its first byte
   */
  page(offset: number, bytes: Uint8Array, at: number): void {
    const page = pageNumber(this.#block, offset, this.#pageSize);
    const pageSize = this.#pageSize;
    if (this.#listening) {
      const to = this.#gather(offset);
      if (!this.#inCache) this.#buffer.gather(bytes, at, pageSize, to);
      else if (this.#mine) this.#write(this.#cache!, offset, bytes, at);
      if (this.#missing === 0) this.#place();
      return;
    }
    this.#note(page);
    this.#write(this.#memory!, offset, bytes, at);
  }

  /** Takes a zero page. */
  zeroPage(offset: number): void {
    const page = pageNumber(this.#block, offset, this.#pageSize);
    if (this.#listening) {
      const to = this.#gather(offset);
      if (!this.#inCache) this.#buffer.clear(to, this.#pageSize);
      else if (this.#mine) this.#clear(this.#cache!, offset);
      if (this.#missing === 0) this.#place();
      return;
    }
    this.#note(page);
    this.#clear(this.#memory!, offset);
  }

  /**
   * Sees that no host page is being gathered, before a page that is not of it: the room is shared with
   * those of small host pages.
   *
   * @param what whose page comes
   * @throws {MigrationError} when one is
   */
  requireWhole(what: string): void {
    if (this.#missing === 0) return;
    throw new MigrationError(
      "BAD_PEER",
      `Non-same host page: a page of ${what} came before all of the ${
        this.#open!.pageSize
      } bytes of ` +
        `${this.#open!.name} at ${this.#openStart}`,
    );
  }

  /**
   * Returns the bytes of a page in place, to be changed before {@linkcode HugePageSink.listen};
   * undefined for one that never came.
   *
   * @throws {MigrationError} when there is no such page
   */
  present(offset: number): Uint8Array | undefined {
    const page = pageNumber(this.#block, offset, this.#pageSize);
    if (!this.#bitmaps.received.has(page)) return undefined;
    const index = this.#memory!.show(offset);
    return this.#memory!.bytes.subarray(index, index + this.#pageSize);
  }

  #write(to: MemoryWindows, offset: number, bytes: Uint8Array, at: number): void {
    const index = to.show(offset);
    this.#buffer.put(bytes, at, this.#pageSize, to.words, index / 4);
  }

  /**
   * Written in any case: a host page that is not there would fault after LISTEN, and one that was discarded holds
   * what it held.
   */
  #clear(at: MemoryWindows, offset: number): void {
    const index = at.show(offset);
    at.bytes.fill(0, index, index + this.#pageSize);
  }

  /** Precopy: later content replaces earlier. */
  #note(page: number): void {
    if (!this.#bitmaps.received.add(page)) return;
    this.#bitmaps.claimed.add(page);
    this.#state.addReceived(1);
  }

  /** Finds a page its place in the host page being gathered, and says where. */
  #gather(offset: number): number {
    const block = this.#block!;
    const inHostPage = offset % block.pageSize;
    if (this.#missing === 0) this.#begin(block, offset - inHostPage);
    else if (this.#open !== block || this.#openStart !== offset - inHostPage) {
      this.requireWhole(`RAM block ${block.name} at ${offset}`);
    }
    if (!this.#here.add(inHostPage / this.#pageSize)) {
      throw new MigrationError(
        "BAD_PEER",
        `Page came twice in one host page: RAM block ${block.name} at ${offset}`,
      );
    }
    this.#missing--;
    return inHostPage;
  }

  #begin(block: RamBlock, start: number): void {
    this.#open = block;
    this.#openStart = start;
    this.#missing = block.pagesPerHostPage;
    this.#here.clear(0, block.pagesPerHostPage);
    this.#inCache = block.pageSize > GATHER_BYTES;
    if (this.#inCache) {
      this.#mine = this.#bitmaps.claimed.add(block.firstPage + start / this.#pageSize);
    }
  }

  #place(): void {
    const { firstPage, pagesPerHostPage } = this.#open!;
    const page = firstPage + this.#openStart / this.#pageSize;
    const { received, claimed, requested } = this.#bitmaps;
    // Claimed before anything is placed: the other channel may bring the same page.
    const mine = this.#inCache ? this.#mine : claimed.add(page);
    if (!mine) return this.#state.addDuplicates(this.#channel, pagesPerHostPage);
    claimed.fill(page, pagesPerHostPage);
    if (this.#inCache) this.#mapCached();
    else if (!this.#copy()) this.#placeCached();
    received.fill(page, pagesPerHostPage);
    this.#state.addReceived(pagesPerHostPage);
    if (requested.has(page)) this.#onLanded(page, monotonicNanoseconds());
  }

  /** Returns false when the host page is in the page cache already. */
  #copy(): boolean {
    const to = this.#blockAddress + this.#openStart;
    const { pageSize } = this.#open!;
    let placement: Placement;
    const from = this.#buffer.gatherAddress;
    do placement = this.#placer.copy(to, from, pageSize); while (placement === Placement.RETRY);
    if (placement === Placement.GONE) throw memoryVanished();
    return placement === Placement.PLACED;
  }

  /** Places a host page that is in the page cache, as zeros or with what it held before its discard. */
  #placeCached(): void {
    const { pageSize } = this.#open!;
    const alias = new Int32Array(viewMemory(this.#blockAlias + this.#openStart, pageSize).buffer);
    this.#buffer.writeTo(0, pageSize, alias, 0);
    this.#mapCached();
  }

  /** Maps a host page that is in the page cache with what it holds. */
  #mapCached(): void {
    const { pageSize } = this.#open!;
    const to = this.#blockAddress + this.#openStart;
    let placement: Placement;
    do placement = this.#placer.continue(to, pageSize); while (placement === Placement.RETRY);
    if (placement === Placement.GONE) throw memoryVanished();
    if (placement === Placement.PRESENT) this.#placer.wake(to, pageSize);
  }
}

/**
 * Forgets the claims of huge pages that are only begun, by a task that is no more: what it wrote nobody can see.
 *
 * @param claimed nobody places a page meanwhile
 */
export function forgetBegun({ blocks }: RamLayout, claimed: PageBitmap): void {
  for (const { pageSize, firstPage, pageCount, pagesPerHostPage } of blocks) {
    if (pageSize <= GATHER_BYTES) continue;
    const end = firstPage + pageCount;
    for (let page = firstPage; page < end; page += pagesPerHostPage) {
      if (!claimed.has(page + 1)) claimed.clear(page, 1);
    }
  }
}

/**
 * Sees before LISTEN that every huge page is here whole or not at all: what is missing of one would
 * read as zeros.
 *
 * @param received pages in place, which no other thread changes meanwhile
 * @throws {MigrationError} when one is here in part
 */
export function requireWholeHostPages(layout: RamLayout, received: PageBitmap): void {
  for (const { name, pageSize, firstPage, pageCount, pagesPerHostPage } of layout.blocks) {
    if (pagesPerHostPage === 1) continue;
    for (let page = 0; page < pageCount; page += pagesPerHostPage) {
      const count = received.count(firstPage + page, pagesPerHostPage);
      if (count === 0 || count === pagesPerHostPage) continue;
      throw new MigrationError(
        "BAD_PEER",
        `Source sent only a part of a page of ${pageSize} and did not discard it: RAM block ` +
          `${name}, at ${page * layout.targetPageSize}`,
      );
    }
  }
}
