/** Precopy: the memory of a guest that runs, in rounds, until it may stop. */

import { monotonicNanoseconds, threadCpuNanoseconds } from "../../ffi/clock.ts";
import { clearEvent } from "../../ffi/eventfd.ts";
import { Gather } from "../../ffi/gather.ts";
import { addressOf } from "../../ffi/memory.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import { ELEMENT } from "../../migration/protocol/constants.ts";
import { type DiscardCommand, discardCommands } from "../../migration/protocol/discard.ts";
import { BandwidthMeter } from "./bandwidth_meter.ts";
import { BlockingSender } from "../../channel/blocking_sender.ts";
import { TO_DESTINATION } from "../../channel/role.ts";
import { SendingEnd } from "../../channel/sending_end.ts";
import { encodeDiscards, PING } from "../sending/control_stream.ts";
import { Convergence, type PostcopyPolicy, switchesToPostcopy } from "./convergence.ts";
import { discardStale, roundToHostPages } from "./dirty_runs.ts";
import { DirtyTracker, type TrackedBlock } from "./dirty_tracker.ts";
import { LiveState } from "./live_state.ts";
import { PageRecords } from "../sending/page_records.ts";
import { pageSaver } from "../sending/compressing_pages.ts";
import type { PageSaver } from "../sending/page_saver.ts";
import { RateLimit } from "../sending/rate_limit.ts";
import type { SenderInit } from "../sending/sender_init.ts";
import { SenderViews } from "../sending/sender_views.ts";
import type { SourceState } from "../sending/source_state.ts";

/** What a precopy sender is made from. */
export interface PrecopyInit extends SenderInit {
  /** The `ram` section's id. */
  readonly sectionId: number;
  /** Bytes a second; 0 for no limit. Does not hold once the guest is stopped. */
  readonly maxBandwidth: number;
  /** Milliseconds that the guest may stand still. */
  readonly downtimeLimit: number;
  /** When to switch to postcopy. */
  readonly postcopy: PostcopyPolicy;
  /** The memory. */
  readonly tracked: readonly TrackedBlock[];
  /** Shared memory of the bitmap of pages that the destination has in some version. */
  readonly sent: SharedArrayBuffer;
  /** Shared memory of the {@linkcode LiveState}. */
  readonly live: SharedArrayBuffer;
}

/** What the precopy worker tells the control plane. */
export type PrecopyMessage =
  /** The guest is to stop now; `postcopy` says whether the rest of the memory follows by that. */
  | { readonly kind: "switchover"; readonly postcopy: boolean }
  /** All is sent that comes before the device state. */
  | { readonly kind: "memory-sent" };

/** Pages in a batch: 1 MiB for one call. */
const BATCH_PAGES = 256;
/** Bytes on the wire of a page's record, beside the page. */
const RECORD_BYTES = 8;

/**
 * Copies the memory of a running guest, on the precopy worker's thread: all of it, then in rounds what
 * was written since. Ends with the guest stopped and the destination knowing all pages, or which of
 * those that it has it must forget.
 */
export class PrecopySender implements Disposable {
  readonly #init: PrecopyInit;
  readonly #tell: (message: PrecopyMessage) => void;
  readonly #state: SourceState;
  readonly #live: LiveState;
  readonly #layout: RamLayout;
  readonly #dirty: PageBitmap;
  readonly #sent: PageBitmap;
  readonly #tracker: DirtyTracker;
  readonly #main: BlockingSender;
  readonly #records: PageRecords;
  readonly #saver: PageSaver;
  readonly #limit: RateLimit;
  readonly #meter = new BandwidthMeter();
  readonly #convergence = new Convergence();
  readonly #poll = new PollSet(1);
  /** Processor time of the thread when it had loaded: what it took until then is no part of a migration. */
  readonly #loaded = threadCpuNanoseconds();
  #collectedAt = 0;
  #discarded = false;
  /** Pages with content that this round sent, and the bytes that all of its pages took. */
  #roundPages = 0;
  #roundBytes = 0;

  /**
   * @param init what the control plane prepared; every page is dirty
   * @param tell called when the guest is to stop
   * @param saver makes what puts the pages into the batches; default as `init` says
   */
  constructor(
    init: PrecopyInit,
    tell: (message: PrecopyMessage) => void,
    saver: (records: PageRecords, state: SourceState) => PageSaver = (records, state) =>
      pageSaver(init, records, state),
  ) {
    this.#init = init;
    this.#tell = tell;
    const { state, layout, dirty, locator } = new SenderViews(init);
    this.#state = state;
    this.#live = new LiveState(init.live);
    this.#layout = layout;
    this.#dirty = dirty;
    this.#sent = new PageBitmap(layout.pageLimit, init.sent);
    const { targetPageSize, wakeFd, stallTimeout } = init;
    this.#tracker = new DirtyTracker({ blocks: init.tracked, targetPageSize });
    const stopped = () => this.#state.stopped;
    const main = new SendingEnd(init.main, TO_DESTINATION.MAIN);
    this.#main = new BlockingSender(main, { wakeFd, stopped, stallTimeout });
    this.#records = new PageRecords(layout, locator, BATCH_PAGES);
    this.#saver = saver(this.#records, this.#state);
    this.#limit = new RateLimit(init.maxBandwidth);
    this.#poll.watch(0, wakeFd, PollEvents.IN);
  }

  /**
   * Copies until the guest has stopped and its memory is dealt with, or it is told to stop.
   *
   * @throws {MigrationError} when the destination goes away, or this kernel cannot track writes
   */
  run(): void {
    const { postcopy: policy } = this.#init;
    // Nothing is sent before the guest stops: what it writes until then is of no interest.
    if (policy !== "now") this.#tracker.start();
    this.#collectedAt = monotonicNanoseconds();
    this.#live.rounds = 1;
    const postcopy = policy === "now" || this.#copy();
    // Pages on their way are older than what is discarded now, and would come after it.
    if (!this.#settle() || this.#state.stopped) return;
    if (postcopy && !this.#prepare()) return;
    this.#tell({ kind: "switchover", postcopy });
    if (!this.#awaitGuestStopped()) return;
    if (policy !== "now") this.#collect();
    if (!(postcopy ? this.#handOver() : this.#finish())) return;
    this.#tell({ kind: "memory-sent" });
    this.#tracker.stop(); // takes 40 ms a GiB, for which nobody has to wait
  }

  /** Frees its buffers and ends the tracking. */
  close(): void {
    this.#tracker.stop();
    this.#records.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Rounds, until the rest fits the downtime (false) or postcopy is wanted (true). */
  #copy(): boolean {
    while (this.#sendRound()) {
      const since = this.#collectedAt;
      const written = this.#collect();
      this.#live.dirtyRate = written / (this.#collectedAt - since) * 1e9;
      const remaining = this.#dirty.count();
      this.#convergence.roundEnded(remaining);
      this.#estimate(remaining);
      if (remaining === 0 || this.#live.expectedDowntime <= this.#init.downtimeLimit) return false;
      const { postcopy } = this.#init;
      if (switchesToPostcopy(postcopy, this.#live.rounds, this.#convergence)) return true;
      this.#live.rounds++;
    }
    return true;
  }

  /** Sends every dirty page once; false when the round was broken off, by a stop or for postcopy. */
  #sendRound(): boolean {
    let cursor = 0;
    this.#roundPages = 0;
    this.#roundBytes = 0;
    while (!this.#state.stopped && !this.#live.postcopyWanted) {
      const now = monotonicNanoseconds();
      this.#measure(now);
      const delay = this.#limit.delay(now);
      if (delay > 0) {
        this.#nap(delay);
        continue;
      }
      cursor = this.#sendBatch(cursor, this.#limit.batchBytes);
      if (cursor < 0) return !this.#state.stopped;
      this.#limit.spend(monotonicNanoseconds(), this.#records.byteLength);
    }
    return false;
  }

  /**
   * Sends the next dirty pages from `cursor` on, and at the end those on their way.
   *
   * @param most bytes of the batch; one page goes in any case
   * @returns where to go on, or -1 at the end or on a stop
   */
  #sendBatch(cursor: number, most: number): number {
    const records = this.#records;
    const dirty = this.#dirty;
    const saver = this.#saver;
    let next = cursor;
    this.#beginBatch();
    while (next < dirty.length && (records.byteLength < most || records.length === 0)) {
      const page = dirty.next(next);
      next = page < 0 ? dirty.length : page;
      if (page < 0 || !saver.prepare()) break;
      // Taken before it is read: what is written from now on makes it dirty again.
      dirty.take(page);
      saver.save(page);
      this.#sent.add(page);
      next = page + 1;
    }
    if (next === dirty.length) saver.settle();
    return this.#endBatch() ? next : -1;
  }

  /** Sends the pages on their way; false when it was told to stop first. */
  #settle(): boolean {
    while (this.#saver.outstanding > 0) {
      this.#beginBatch();
      this.#saver.settle();
      if (!this.#endBatch()) return false;
    }
    return true;
  }

  #beginBatch(): void {
    this.#records.begin();
    this.#records.openSection(ELEMENT.SECTION_PART, this.#init.sectionId);
  }

  /** Sends the batch; false when there is nothing in it, or on a stop. */
  #endBatch(): boolean {
    const records = this.#records;
    if (records.length === 0) return false;
    records.closeSection(this.#init.sectionId);
    records.end();
    if (!this.#main.send(records.gather)) return false;
    this.#saver.sent();
    const { background } = this.#state;
    const bytes = records.byteLength;
    background.addPages(records.pages, records.zeroPages);
    background.addBytes(bytes);
    this.#state.setCpuTime("precopy", threadCpuNanoseconds() - this.#loaded);
    this.#roundPages += records.length - records.zeroPages;
    this.#roundBytes += bytes;
    if (this.#live.guestStopped) this.#live.addDowntimeBytes(bytes);
    else this.#live.addPrecopyBytes(bytes);
    return true;
  }

  /** Takes note of what was written since the last time; returns how many pages that are not dirty already. */
  #collect(): number {
    this.#collectedAt = monotonicNanoseconds();
    return this.#tracker.collect(this.#dirty);
  }

  #measure(now: number, last = false): void {
    if (!last && !this.#meter.due(now)) return;
    const taken = this.#state.background.bytes - this.#main.end.unacknowledged;
    this.#meter.sample(now, taken, last);
    this.#live.bandwidth = this.#meter.bytesPerSecond;
  }

  /** How long the guest would stand still if it stopped now. */
  #estimate(remaining: number): void {
    this.#measure(monotonicNanoseconds(), true);
    // What is to be compressed will take what the pages of this round took.
    const compressed = this.#init.compression !== undefined && this.#roundPages > 0;
    const pageBytes = compressed
      ? this.#roundBytes / this.#roundPages
      : this.#init.targetPageSize + RECORD_BYTES;
    const bytes = remaining * pageBytes + this.#main.end.unacknowledged;
    const { bandwidth } = this.#live;
    // With nothing taken yet it is for ever: infinite, not unknown.
    this.#live.expectedDowntime = bytes === 0 ? 0 : bytes / bandwidth * 1000;
  }

  /**
   * Before the guest stops for postcopy: lets the destination forget what is out of date by now. What
   * is left of that for the downtime is what the guest writes meanwhile.
   */
  #prepare(): boolean {
    if (this.#init.postcopy === "now") return this.#sendDiscards([], PING.PREPARED);
    this.#collect();
    roundToHostPages(this.#layout, this.#dirty);
    return this.#sendDiscards(this.#discards(), PING.PREPARED);
  }

  /** The guest has stopped, and will run without the pages that are dirty. */
  #handOver(): boolean {
    roundToHostPages(this.#layout, this.#dirty);
    const discards = this.#discards();
    if (!this.#discarded) discards.push(this.#discardFirst());
    return this.#sendDiscards(discards, PING.DISCARDED);
  }

  #discards(): DiscardCommand[] {
    const discards = discardStale(this.#layout, this.#dirty, this.#sent);
    this.#discarded ||= discards.length > 0;
    return discards;
  }

  /**
   * A QEMU destination does not run without a discard (docs/protocol.md section 4.2): the first page
   * goes again.
   */
  #discardFirst(): DiscardCommand {
    const { name, firstPage, pageSize, pagesPerHostPage } = this.#layout.blocks[0]!;
    this.#dirty.fill(firstPage, pagesPerHostPage);
    this.#sent.clear(firstPage, pagesPerHostPage);
    return discardCommands(name, [{ start: 0, length: pageSize }])[0]!;
  }

  #sendDiscards(discards: readonly DiscardCommand[], ping: number): boolean {
    const bytes = encodeDiscards(discards, ping);
    const gather = new Gather(1);
    gather.add(addressOf(bytes), bytes.length);
    const sent = this.#main.send(gather);
    this.#state.background.addBytes(bytes.length); // and keeps them until here
    if (this.#live.guestStopped) this.#live.addDowntimeBytes(bytes.length);
    else if (discards.length > 0) this.#live.addPrecopyBytes(bytes.length);
    return sent;
  }

  /** The guest has stopped: sends the rest, and the end of the memory. */
  #finish(): boolean {
    let cursor = 0;
    while (cursor >= 0) cursor = this.#sendBatch(cursor, Infinity);
    if (this.#state.stopped) return false;
    const records = this.#records;
    records.begin();
    records.openSection(ELEMENT.SECTION_END, this.#init.sectionId);
    records.closeSection(this.#init.sectionId);
    records.end();
    return this.#main.send(records.gather);
  }

  #awaitGuestStopped(): boolean {
    while (!this.#live.guestStopped) {
      if (this.#state.stopped) return false;
      this.#poll.wait(-1);
      if (this.#poll.ready(0) !== 0) clearEvent(this.#init.wakeFd);
    }
    return !this.#state.stopped;
  }

  #nap(nanoseconds: number): void {
    this.#poll.waitNanoseconds(nanoseconds);
    if (this.#poll.ready(0) !== 0) clearEvent(this.#init.wakeFd);
  }
}
