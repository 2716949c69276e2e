/** The pages of the preempt channel: whoever waits for one gets it at once. */

import type { ConnectionInit } from "../../channel/connection.ts";
import { ReceiveBuffer } from "../../channel/receive_buffer.ts";
import { type PreemptPages, PreemptRecords } from "../incoming/preempt_records.ts";
import type { BlockMap } from "../placing/block_map.ts";
import { ChannelPages } from "../placing/channel_pages.ts";
import type { DestinationState } from "../placing/destination_state.ts";
import type { OnLanded, PageBitmaps } from "../placing/page_sink.ts";

/**
 * Bytes of a receipt from the preempt channel, beside what is left of a page: what one session of a
 * thread takes before the others have their turn.
 */
const RECEIVE_BYTES = 64 * 1024;

/** Places the pages of one preempt channel after the other, on the fault server's thread. */
export class UrgentPages implements PreemptPages, Disposable {
  readonly #state: DestinationState;
  readonly #targetPageSize: number;
  readonly #pageCount: number;
  readonly #pages: ChannelPages;
  readonly #buffer: ReceiveBuffer;
  #channel: PreemptRecords | undefined;
  #open = false;

  /**
   * @param map where the blocks lie
   * @param state counters
   * @param uffd the userfaultfd, owned elsewhere
   * @param bitmaps which pages are where
   * @param onLanded called after a requested page was placed
   */
  constructor(
    map: BlockMap,
    state: DestinationState,
    uffd: number,
    bitmaps: PageBitmaps,
    onLanded: OnLanded,
  ) {
    this.#state = state;
    this.#targetPageSize = map.layout.targetPageSize;
    this.#pageCount = map.layout.pageCount;
    this.#buffer = new ReceiveBuffer(RECEIVE_BYTES + this.#targetPageSize);
    this.#pages = new ChannelPages(map, state, uffd, bitmaps, "preempt", onLanded, this.#buffer);
    this.#pages.listen();
  }

  /** True while there is a channel. */
  get attached(): boolean {
    return this.#channel !== undefined;
  }

  /** True once a channel was there that brings no page any more. */
  get ended(): boolean {
    return this.#channel?.ended === true;
  }

  /** What to poll for; -1 while nothing may be read. */
  get fd(): number {
    return this.#channel === undefined || !this.#open || this.#channel.ended
      ? -1
      : this.#channel.fd;
  }

  /** Goes on with a channel, the first or after {@linkcode UrgentPages.detach}. */
  attach(connection: ConnectionInit): void {
    this.#channel = new PreemptRecords(connection, this.#buffer, this, this.#targetPageSize);
  }

  /**
   * The connection is gone: what came in part is forgotten.
   *
   * @returns the channel's descriptor, which nobody uses any more; -1 when there was none
   */
  detach(): number {
    const fd = this.#channel?.fd ?? -1;
    this.#channel = undefined;
    this.#open = false;
    this.#pages.restart();
    return fd;
  }

  /**
   * Reads the channel from here on. A source may send pages before LISTEN was read on the main channel, when
   * the memory is not registered yet.
   */
  open(): void {
    if (this.#open || this.#channel === undefined || !this.#state.listening) return;
    this.#open = true;
    this.receive(); // what came while it was found out who it is
  }

  /**
   * Places what has come.
   *
   * @throws {MigrationError} when the channel ended where it should not, or a page cannot be placed
   * @throws {ProtocolError} when what came is no page
   */
  receive(): void {
    const channel = this.#channel!;
    const count = channel.receive();
    if (count > 0) {
      this.#state.addPreemptBytes(count);
      channel.decode();
    }
    // Also behind what came: nobody polls for a channel any more whose end was found.
    if (!channel.disconnected) return;
    // With every page here its end takes nothing away, however it came: a QEMU says no closing word of TLS.
    if (this.#state.missingOf(this.#pageCount) === 0) return;
    // A source that has sent everything may close this channel first.
    if (!channel.closedWhole || !this.#state.mainEnded) throw channel.lost();
  }

  select(name: string): void {
    this.#pages.select(name);
  }

  page(offset: number, bytes: Uint8Array, at: number): void {
    this.#pages.page(offset, bytes, at);
    this.#pages.flush(); // somebody waits for it
  }

  zeroPage(offset: number): void {
    this.#pages.zeroPage(offset);
    this.#pages.flush();
  }

  /** Frees its buffer. */
  [Symbol.dispose](): void {
    this.#buffer.close();
  }
}
