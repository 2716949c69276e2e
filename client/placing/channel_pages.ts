/** The pages of one channel, each to the sink that suits its block. */

import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import { blockIndex } from "../incoming/page_number.ts";
import type { BlockMap } from "./block_map.ts";
import type { DestinationState } from "./destination_state.ts";
import { HugePageSink } from "./huge_page_sink.ts";
import { type OnLanded, type PageBitmaps, PageSink } from "./page_sink.ts";
import type { ReceiveBuffer } from "../../channel/receive_buffer.ts";

/** Places the pages of one channel, on one thread: see {@linkcode PageSink} and {@linkcode HugePageSink}. */
export class ChannelPages {
  readonly #layout: RamLayout;
  readonly #small: PageSink;
  readonly #huge: HugePageSink;
  // Of one class all the time in a guest without huge pages: calls through it are inlined then.
  #sink: PageSink | HugePageSink;
  #selected = -1;

  /**
   * @param map where the blocks lie
   * @param state counters
   * @param uffd the userfaultfd, owned elsewhere
   * @param bitmaps which pages are where
   * @param channel whose pages these are
   * @param onLanded called after a requested page was placed
   * @param buffer what the channel is received into; stays the caller's
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
    this.#layout = map.layout;
    this.#small = new PageSink(map, state, uffd, bitmaps, channel, onLanded, buffer);
    this.#huge = new HugePageSink(map, state, uffd, bitmaps, channel, onLanded, buffer);
    this.#sink = this.#small;
  }

  /** From here on a page in place is left as it is. */
  listen(): void {
    this.#small.listen();
    this.#huge.listen();
  }

  /**
   * Selects the block of the pages that follow.
   *
   * @throws {MigrationError} when there is no such block
   */
  select(name: string): void {
    const { blocks } = this.#layout;
    if (this.#selected >= 0 && blocks[this.#selected]!.name === name) return;
    const index = blockIndex(blocks, name);
    this.#small.flush();
    this.#selected = index;
    const huge = blocks[index]!.pagesPerHostPage > 1;
    if (!huge) this.#huge.requireWhole(`RAM block ${name}`);
    this.#sink = huge ? this.#huge : this.#small;
    this.#sink.select(index);
  }

  /** Takes a page: its content is `bytes[at..]` during the call, and stays at an address other than 0. */
  page(offset: number, bytes: Uint8Array, at: number, address = 0): void {
    this.#sink.page(offset, bytes, at, address);
  }

  /** Takes a zero page. */
  zeroPage(offset: number): void {
    this.#sink.zeroPage(offset);
  }

  /** Returns the bytes of a page in place, before {@linkcode ChannelPages.listen}; else undefined. */
  present(offset: number): Uint8Array | undefined {
    return this.#sink.present(offset);
  }

  /** The channel broke: places what came whole, and forgets the part of a huge page that came. */
  restart(): void {
    this.#huge.restart();
    this.#selected = -1;
    try {
      this.flush();
    } catch {
      // Then it comes again, and says why it cannot be placed if that is still so.
    }
  }

  /** Places what was gathered so far, but for a part of a huge page. */
  flush(): void {
    this.#small.flush();
  }
}
