/** Forgetting pages that the source will send again. */

import { Discards } from "../../ffi/discards.ts";
import { discardMemory, viewMemory } from "../../ffi/memory.ts";
import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import type { DiscardCommand } from "../../migration/protocol/discard.ts";
import type { MappedBlocks } from "./destination_memory.ts";

/** Bytes seen through one view; V8 does not make views of any length. */
const MOST_CLEARED = 2 ** 30;

/**
 * Drops the pages that discard commands name. They come in their thousands while the guest stands
 * still, a dozen small ranges in a command: what is mapped is unmapped with few calls, at
 * {@linkcode DiscardedRanges.apply}, and what never came costs no call at all.
 *
 * A page of a memfd stays in the page cache meanwhile: punching a hole for it costs seven times as
 * much, all of it downtime. The guest faults on it all the same, as nobody received it, and the page
 * that comes for it is written over it.
 */
export class DiscardedRanges {
  readonly #mapped: MappedBlocks;
  readonly #layout: RamLayout;
  readonly #received: PageBitmap;
  readonly #claimed: PageBitmap;
  readonly #discards: Discards;

  /**
   * @param mapped where the blocks lie
   * @param layout their pages' numbers
   * @param received the bitmap of pages in place
   * @param claimed the bitmap of pages that somebody places or has placed
   */
  constructor(
    mapped: MappedBlocks,
    layout: RamLayout,
    received: PageBitmap,
    claimed: PageBitmap,
  ) {
    this.#mapped = mapped;
    this.#layout = layout;
    this.#received = received;
    this.#claimed = claimed;
    this.#discards = new Discards();
  }

  /** True when pages are still mapped that are gone from the bitmaps. */
  get pending(): boolean {
    return this.#discards.pending;
  }

  /**
   * Forgets the pages of a command. No other thread may place pages meanwhile.
   *
   * @returns how many pages were in place
   * @throws {MigrationError} when the command names what is not there
   */
  add(command: DiscardCommand): number {
    const index = this.#mapped.blocks.findIndex((block) => block.name === command.block);
    const block = this.#mapped.blocks[index];
    if (block === undefined) {
      throw new MigrationError("BAD_PEER", `Discard in an unknown RAM block: ${command.block}`);
    }
    const { targetPageSize } = this.#mapped;
    const { firstPage, pageSize } = this.#layout.blocks[index]!;
    let dropped = 0;
    for (const { start, length } of command.ranges) {
      if (start % pageSize !== 0 || length % pageSize !== 0 || start + length > block.length) {
        throw new MigrationError(
          "BAD_PEER",
          `Discard outside RAM block ${block.name} with pages of ${pageSize}: ${length} bytes at ` +
            `${start}`,
        );
      }
      const first = firstPage + start / targetPageSize;
      const pages = length / targetPageSize;
      const inPlace = this.#received.count(first, pages);
      // What was never placed is missing, or zeros that nobody received: those fault all the same.
      if (inPlace === 0) continue;
      this.#received.clear(first, pages);
      this.#claimed.clear(first, pages);
      this.#discards.add(block.address + start, length);
      dropped += inPlace;
    }
    return dropped;
  }

  /**
   * Unmaps the pages: before another is placed, and before anybody runs on the memory.
   *
   * @throws {SyscallError} from madvise
   */
  apply(): void {
    this.#discards.apply();
  }

  /**
   * Makes zeros of all that is not in place, in the page cache of a memfd too: for memory that is
   * left to the kernel as it is.
   *
   * @throws {SyscallError} from madvise
   */
  removeMissing(): void {
    this.apply();
    const { targetPageSize, blocks } = this.#layout;
    for (const [index, { firstPage, pageCount, pagesPerHostPage }] of blocks.entries()) {
      const huge = pagesPerHostPage > 1;
      if (!this.#mapped.shared && !huge) continue;
      const end = firstPage + pageCount;
      for (let page = firstPage; page < end; page++) {
        const next = this.#received.next(page, end);
        const count = (next < 0 ? end : next) - page;
        if (count > 0) {
          const address = this.#mapped.blocks[index]!.address + (page - firstPage) * targetPageSize;
          if (huge) clearMemory(address, count * targetPageSize);
          else discardMemory(address, count * targetPageSize, true);
        }
        page += count; // the page there is in place
      }
    }
  }
}

/** A huge page goes whole or not at all, and a part of it may be in place. */
function clearMemory(address: number, length: number): void {
  for (let at = 0; at < length; at += MOST_CLEARED) {
    viewMemory(address + at, Math.min(MOST_CLEARED, length - at)).fill(0);
  }
}
