/** The memory of a guest that will run in this process, while it arrives on the main channel. */

import type { Backing } from "../../ffi/memory.ts";
import { pageSizeSummary } from "../../migration/memory/page_sizes.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import type { AbsentPagesCommand } from "../../migration/protocol/command.ts";
import type { DiscardCommand } from "../../migration/protocol/discard.ts";
import { ProtocolError } from "../../migration/protocol/protocol_error.ts";
import { decodeXbzrle } from "../../migration/protocol/xbzrle.ts";
import type { StreamMachine } from "../../migration/protocol/stream_machine.ts";
import { BlockMap } from "./block_map.ts";
import type { ReceiveBuffer } from "../../channel/receive_buffer.ts";
import { ChannelPages } from "./channel_pages.ts";
import {
  mapBlocks,
  type MappedBlocks,
  registerBlocks,
  registerHugeBlocks,
  unmapBlocks,
  unregisterBlocks,
} from "./destination_memory.ts";
import type { DestinationState } from "./destination_state.ts";
import { DiscardedRanges } from "./discard_ranges.ts";
import { requireWholeHostPages } from "./huge_page_sink.ts";
import { takeAbsentRuns } from "../incoming/absent_pages.ts";
import type { IncomingMemory } from "../incoming/incoming_memory.ts";
import type { OnLanded } from "./page_sink.ts";

/** What the threads share once the blocks are known. */
export interface ListeningBlocks {
  /** Where the blocks lie. The control plane owns the mappings from here on. */
  readonly mapped: MappedBlocks;
  /** Shared memory of the bitmap of pages in place. */
  readonly received: SharedArrayBuffer;
  /** Shared memory of the bitmap of pages that some thread places or has placed. */
  readonly claimed: SharedArrayBuffer;
  /** Shared memory of the bitmap of pages asked for. */
  readonly requested: SharedArrayBuffer;
  /** Shared memory of the bitmap of pages that the source does not hold: received, and not in place. */
  readonly absent: SharedArrayBuffer;
}

/**
 * Maps the blocks that a source announces and places the main channel's pages in them. They are
 * registered with the userfaultfd from the first: placing a page is faster so than writing it and
 * letting the kernel fault (0.79 us and 1.61 us), and at LISTEN nothing is left to be done.
 */
export class GuestMemoryStore implements IncomingMemory {
  readonly #uffd: number;
  readonly #backing: Backing;
  readonly #state: DestinationState;
  readonly #onLanded: OnLanded;
  readonly #buffer: ReceiveBuffer;
  #map: BlockMap | undefined;
  #blocks: ListeningBlocks | undefined;
  #received: PageBitmap | undefined;
  #claimed: PageBitmap | undefined;
  #absent: PageBitmap | undefined;
  #discards: DiscardedRanges | undefined;
  #pages: ChannelPages | undefined;
  #scratch = new Uint8Array(0);
  #selected = "";
  #listening = false;
  #joined = false;

  /**
   * @param uffd the userfaultfd, owned elsewhere
   * @param backing how the memory is backed
   * @param state counters
   * @param onLanded called for a page in place that somebody asked for
   * @param buffer what the main channel is received into; stays the caller's
   */
  constructor(
    uffd: number,
    backing: Backing,
    state: DestinationState,
    onLanded: OnLanded,
    buffer: ReceiveBuffer,
  ) {
    this.#buffer = buffer;
    this.#uffd = uffd;
    this.#backing = backing;
    this.#state = state;
    this.#onLanded = onLanded;
  }

  /** The blocks, once they are known. */
  get blocks(): ListeningBlocks {
    return this.#blocks!;
  }

  get whole(): boolean {
    return this.#map !== undefined && this.#state.missingOf(this.#map.layout.pageCount) === 0;
  }

  open({ blocks, targetPageSize, pageSizeSummary: advised }: StreamMachine): void {
    const sizes = pageSizeSummary(blocks, targetPageSize);
    if (advised !== undefined && advised !== sizes) {
      throw new MigrationError(
        "UNSUPPORTED",
        `Source advises page sizes 0x${advised.toString(16)} and lists blocks of 0x${
          sizes.toString(16)
        }`,
      );
    }
    const mapped = mapBlocks(blocks, targetPageSize, this.#backing);
    try {
      registerBlocks(this.#uffd, mapped);
    } catch (error) {
      unmapBlocks(mapped);
      throw error;
    }
    this.#use(mapped);
  }

  /** Takes over from another that is no more, after LISTEN. */
  adopt(blocks: ListeningBlocks): void {
    this.#use(blocks.mapped, blocks);
    this.#pages!.listen();
    this.#listening = true;
  }

  /**
   * Places pages of memory that another has opened: before LISTEN, and none that it places meanwhile. Their content
   * stays where it is until `flush`, page behind page, and is placed from there.
   */
  join(blocks: ListeningBlocks): void {
    this.#joined = true;
    this.#use(blocks.mapped, blocks);
  }

  select(name: string): void {
    this.#pages!.select(name);
    this.#selected = name;
  }

  page(offset: number, bytes: Uint8Array, at: number, address: number): void {
    if (this.#discards!.pending) this.#discards!.apply();
    this.#pages!.page(offset, bytes, at, this.#joined ? address : 0);
  }

  zeroPage(offset: number): void {
    if (this.#discards!.pending) this.#discards!.apply();
    this.#pages!.zeroPage(offset);
  }

  xbzrlePage(offset: number, bytes: Uint8Array, at: number, length: number): void {
    if (this.#listening) {
      throw new MigrationError(
        "BAD_PEER",
        "Source sends XBZRLE pages after the switch to postcopy",
      );
    }
    if (this.#discards!.pending) this.#discards!.apply();
    const present = this.#pages!.present(offset);
    // A page that never came is zero at the source too, before its first difference.
    const page = present ?? this.#scratch.fill(0);
    this.#decode(offset, () => decodeXbzrle(page, bytes, at, length));
    if (present === undefined) this.#pages!.page(offset, page, 0);
  }

  flush(): void {
    this.#pages?.flush();
  }

  discard(command: DiscardCommand): void {
    this.#state.addReceived(-this.#discards!.add(command));
  }

  absent(command: AbsentPagesCommand): void {
    takeAbsentRuns(this.#map!.layout, command, (first, count) => {
      if (this.#received!.count(first, count) > this.#absent!.count(first, count)) {
        throw new MigrationError(
          "BAD_PEER",
          `Source lacks pages of RAM block ${command.block} that it has sent: ${count} from page ${first}`,
        );
      }
      this.#absent!.fill(first, count);
      this.#claimed!.fill(first, count);
      this.#state.addAbsent(this.#received!.fill(first, count));
    });
  }

  listen(): void {
    this.#discards!.apply();
    this.#pages!.listen();
    requireWholeHostPages(this.#map!.layout, this.#received!);
    registerHugeBlocks(this.#uffd, this.blocks.mapped);
    this.#listening = true;
  }

  restart(): void {
    this.#pages!.restart();
  }

  /** All of the memory has come without LISTEN: what never came reads as zero from here on. */
  complete(): void {
    this.flush();
    this.#discards!.removeMissing();
    unregisterBlocks(this.#uffd, this.blocks.mapped);
  }

  #use(mapped: MappedBlocks, known?: ListeningBlocks): void {
    const { targetPageSize } = mapped;
    const map = new BlockMap(mapped);
    const { layout } = map;
    const received = new PageBitmap(layout.pageLimit, known?.received);
    const claimed = new PageBitmap(layout.pageLimit, known?.claimed);
    const requested = new PageBitmap(layout.pageLimit, known?.requested);
    const absent = new PageBitmap(layout.pageLimit, known?.absent);
    this.#map = map;
    this.#blocks = {
      mapped,
      received: received.buffer,
      claimed: claimed.buffer,
      requested: requested.buffer,
      absent: absent.buffer,
    };
    this.#received = received;
    this.#claimed = claimed;
    this.#absent = absent;
    this.#discards = new DiscardedRanges(mapped, layout, received, claimed);
    this.#scratch = new Uint8Array(targetPageSize);
    const bitmaps = { received, claimed, requested };
    const onLanded = this.#onLanded;
    this.#pages = new ChannelPages(
      map,
      this.#state,
      this.#uffd,
      bitmaps,
      "main",
      onLanded,
      this.#buffer,
    );
  }

  #decode<T>(offset: number, decode: () => T): T {
    try {
      return decode();
    } catch (cause) {
      if (!(cause instanceof ProtocolError)) throw cause;
      throw new MigrationError(
        "BAD_PEER",
        `Page of RAM block ${this.#selected} at ${offset} cannot be decoded: ${cause.message}`,
        { cause },
      );
    }
  }
}
