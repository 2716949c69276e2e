/** Where a channel's pages go: into the guest's memory, each once. */

import { monotonicNanoseconds } from "../ffi/clock.ts";
import { viewMemory } from "../ffi/memory.ts";
import { PagePlacer, Placement } from "../ffi/page_placer.ts";
import type { PageBitmap } from "../migration/memory/page_bitmap.ts";
import type { RamBlock } from "../migration/memory/ram_layout.ts";
import type { BlockMap } from "./block_map.ts";
import type { DestinationState } from "./destination_state.ts";
import { MigrationError } from "../migration/migration_error.ts";

/** Called for a page in place that somebody asked for; `now` in monotonic nanoseconds. */
export type OnLanded = (page: number, now: number) => void;

/**
 * Places the pages of one channel, on one thread. Before {@linkcode PageSink.listen} memory is
 * written directly (precopy: nobody runs on it yet); afterwards through the userfaultfd, which never
 * overwrites a page that is in place.
 */
export class PageSink {
  readonly #map: BlockMap;
  readonly #state: DestinationState;
  readonly #placer: PagePlacer;
  readonly #received: PageBitmap;
  readonly #requested: PageBitmap;
  readonly #channel: "main" | "preempt";
  readonly #onLanded: OnLanded;
  readonly #pageSize: number;
  readonly #views: (Uint8Array | undefined)[];
  #listening = false;
  #block: RamBlock | undefined;
  #blockAddress = 0;
  #blockView: Uint8Array | undefined;
  // A run of zero pages not placed yet: one ioctl for many is seven times cheaper a page.
  #zeroStart = 0;
  #zeroPages = 0;

  /**
   * @param map where the blocks lie
   * @param state counters
   * @param uffd the userfaultfd, owned elsewhere
   * @param received shared bitmap of the pages in place
   * @param requested shared bitmap of the pages asked for
   * @param channel whose pages these are
   * @param onLanded called after a requested page was placed
   */
  constructor(
    map: BlockMap,
    state: DestinationState,
    uffd: number,
    received: PageBitmap,
    requested: PageBitmap,
    channel: "main" | "preempt",
    onLanded: OnLanded,
  ) {
    this.#map = map;
    this.#state = state;
    this.#placer = new PagePlacer(uffd);
    this.#received = received;
    this.#requested = requested;
    this.#channel = channel;
    this.#onLanded = onLanded;
    this.#pageSize = map.layout.targetPageSize;
    this.#views = map.layout.blocks.map(() => undefined);
  }

  /** From here on pages are placed through the userfaultfd. */
  listen(): void {
    this.#listening = true;
  }

  /**
   * Selects the block of the pages that follow.
   *
   * @throws {MigrationError} when there is no such block
   */
  select(name: string): void {
    if (this.#block?.name === name) return;
    this.flush();
    const block = this.#map.layout.find(name);
    if (block === undefined) {
      throw new MigrationError("BAD_PEER", `Page of an unknown RAM block: ${name}`);
    }
    const index = this.#map.layout.blocks.indexOf(block);
    this.#block = block;
    this.#blockAddress = this.#map.addressOf(index);
    this.#blockView = undefined;
    if (!this.#listening) {
      this.#views[index] ??= viewMemory(this.#blockAddress, block.usedLength);
      this.#blockView = this.#views[index];
    }
  }

  /**
   * Places a page.
   *
   * @param offset bytes from the start of the selected block
   * @param bytes where the content lies, for memory not yet registered
   * @param at index of its first byte
   * @param from address of its first byte
   */
  page(offset: number, bytes: Uint8Array, at: number, from: number): void {
    const block = this.#check(offset);
    if (!this.#listening) return this.#write(block, offset, bytes, at);
    if (this.#zeroPages !== 0) this.flush();
    const to = this.#blockAddress + offset;
    while (true) {
      const placement = this.#placer.copy(to, from, this.#pageSize);
      if (placement === Placement.RETRY) continue;
      this.#landed(block.firstPage + offset / this.#pageSize, placement);
      return;
    }
  }

  /** Places a zero page, together with others that follow; {@linkcode PageSink.flush} ends the wait. */
  zeroPage(offset: number): void {
    const block = this.#check(offset);
    if (!this.#listening) return this.#write(block, offset, undefined, 0);
    if (this.#zeroPages !== 0) {
      if (offset === this.#zeroStart + this.#zeroPages * this.#pageSize) {
        this.#zeroPages++;
        return;
      }
      this.flush();
    }
    this.#zeroStart = offset;
    this.#zeroPages = 1;
  }

  /** Places the zero pages gathered so far: at the end of every piece of input. */
  flush(): void {
    if (this.#zeroPages === 0) return;
    const pages = this.#zeroPages;
    this.#zeroPages = 0;
    const pageSize = this.#pageSize;
    let to = this.#blockAddress + this.#zeroStart;
    let page = this.#block!.firstPage + this.#zeroStart / pageSize;
    const end = page + pages;
    while (page < end) {
      const placement = this.#placer.zero(to, (end - page) * pageSize);
      // A run stops at a page that is there: that one is passed over, the rest tried again.
      let placed = placement === Placement.RETRY ? this.#placer.placedBytes / pageSize : end - page;
      if (placement === Placement.PRESENT) placed = 1;
      for (let done = 0; done < placed; done++) this.#landed(page++, placement);
      to += placed * pageSize;
    }
  }

  #check(offset: number): RamBlock {
    const block = this.#block;
    if (block === undefined) throw new MigrationError("BAD_PEER", "Page before any RAM block");
    if (offset + this.#pageSize > block.usedLength) {
      throw new MigrationError(
        "BAD_PEER",
        `Page outside RAM block ${block.name} of ${block.usedLength} bytes: at ${offset}`,
      );
    }
    return block;
  }

  #landed(page: number, placement: Placement): void {
    if (placement === Placement.GONE) {
      throw new MigrationError("GUEST_FAILED", "Guest memory vanished while its pages arrived");
    }
    if (this.#received.add(page)) this.#state.addReceived(1);
    else this.#state.addDuplicates(this.#channel, 1);
    if (this.#requested.has(page)) this.#onLanded(page, monotonicNanoseconds());
  }

  /** Precopy: later content replaces earlier. */
  #write(
    block: RamBlock,
    offset: number,
    bytes: Uint8Array | undefined,
    at: number,
  ): void {
    const page = block.firstPage + offset / this.#pageSize;
    const first = this.#received.add(page);
    if (first) this.#state.addReceived(1);
    if (bytes !== undefined) {
      this.#blockView!.set(bytes.subarray(at, at + this.#pageSize), offset);
    } else if (!first) this.#blockView!.fill(0, offset, offset + this.#pageSize);
    // A page that is zero and never was anything else is placed by being left missing: at LISTEN it
    // would fault, and is touched here so that it does not.
    else this.#blockView![offset] = 0;
  }
}
