/** Precopy: the memory of a guest that runs, in rounds, until it may stop. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { Gather } from "../../ffi/gather.ts";
import { addressOf } from "../../ffi/memory.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import { ELEMENT } from "../../migration/protocol/constants.ts";
import { type DiscardCommand, discardCommands } from "../../migration/protocol/discard.ts";
import type { Steps, TaskPoll, Tell } from "../../migration/threads/task.ts";
import { BandwidthMeter } from "./bandwidth_meter.ts";
import { TO_DESTINATION } from "../../channel/role.ts";
import type { SteppedSender } from "../../channel/stepped_sender.ts";
import { encodeDiscards, PING } from "../sending/control_stream.ts";
import { Convergence, type PostcopyPolicy, switchesToPostcopy } from "./convergence.ts";
import { discardStale, roundToHostPages } from "./dirty_runs.ts";
import { DirtyTracker, type TrackedBlock } from "./dirty_tracker.ts";
import { LiveState } from "./live_state.ts";
import { PageRecords } from "../sending/page_records.ts";
import type { NextAct, PageSaver } from "../sending/page_saver.ts";
import { RateLimit } from "../sending/rate_limit.ts";
import type { SenderInit } from "../sending/sender_init.ts";
import { SenderViews } from "../sending/sender_views.ts";
import type { SourceState } from "../sending/source_state.ts";
import { Turns } from "../sending/turns.ts";

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

/** What the precopy sender tells the control plane. */
export type PrecopyMessage =
  /** The guest is to stop now; `postcopy` says whether the rest of the memory follows by that. */
  | { readonly kind: "switchover"; readonly postcopy: boolean }
  /** All is sent that comes before the device state. */
  | { readonly kind: "memory-sent" };

/** Pages in a batch: 1 MiB for one call. */
const BATCH_PAGES = 256;
/** Bytes on the wire of a page's record, beside the page. */
const RECORD_BYTES = 8;

/** Makes what puts the pages into the batches. */
export type SaverMaker = (init: SenderInit, records: PageRecords, state: SourceState) => PageSaver;

/**
 * Copies the memory of a running guest, on a precopy thread: all of it, then in rounds what was written
 * since. Ends with the guest stopped and the destination knowing all pages, or which of those that it has
 * it must forget. Other guests on the same thread have their turns after each batch.
 */
export class PrecopySender implements Disposable {
  readonly #init: PrecopyInit;
  readonly #tell: Tell<PrecopyMessage>;
  readonly #state: SourceState;
  readonly #live: LiveState;
  readonly #layout: RamLayout;
  readonly #dirty: PageBitmap;
  readonly #sent: PageBitmap;
  readonly #tracker: DirtyTracker;
  readonly #main: SteppedSender;
  readonly #records: PageRecords;
  readonly #saver: PageSaver;
  readonly #limit: RateLimit;
  readonly #meter = new BandwidthMeter();
  readonly #convergence = new Convergence();
  readonly #turns: Turns;
  /** Where the round stands. */
  #cursor = 0;
  #collectedAt = 0;
  #discarded = false;
  /** Pages with content that this round sent, and the bytes that all of its pages took. */
  #roundPages = 0;
  #roundBytes = 0;

  /**
   * @param init what the control plane prepared; every page is dirty
   * @param tell called when the guest is to stop
   * @param poll the task's
   * @param saver makes what puts the pages into the batches
   */
  constructor(
    init: PrecopyInit,
    tell: Tell<PrecopyMessage>,
    poll: TaskPoll,
    saver: SaverMaker,
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
    this.#records = new PageRecords(layout, locator, BATCH_PAGES);
    this.#saver = saver(init, this.#records, this.#state);
    this.#limit = new RateLimit(init.maxBandwidth);
    this.#turns = new Turns(poll, {
      events: [wakeFd, this.#saver.wakeFd],
      stopped: () => this.#state.stopped,
      stallTimeout,
    });
    this.#main = this.#turns.sender(init.main, TO_DESTINATION.MAIN);
  }

  /**
   * Copies until the guest has stopped and its memory is dealt with, or it is told to stop.
   *
   * @throws {MigrationError} when the destination goes away, or this kernel cannot track writes
   */
  *run(): Steps {
    try {
      yield* this.#migrate();
    } finally {
      yield* this.#turns.between(this.#tracker.stopping()); // for which nobody has to wait
    }
  }

  /** Tells what all steps so far took of the processor. */
  setCpuTime(nanoseconds: number): void {
    this.#state.setCpuTime("precopy", nanoseconds);
  }

  *#migrate(): Steps {
    const { postcopy: policy } = this.#init;
    // Nothing is sent before the guest stops: what it writes until then is of no interest.
    if (policy !== "now") yield* this.#turns.between(this.#tracker.starting());
    this.#collectedAt = monotonicNanoseconds();
    this.#live.rounds = 1;
    const postcopy = policy === "now" || (yield* this.#copy());
    // Pages on their way are older than what is discarded now, and would come after it.
    if (!(yield* this.#settle()) || this.#state.stopped) return;
    if (postcopy && !(yield* this.#prepare())) return;
    // What is compressed from now on may be the background thread's.
    if (postcopy) this.#turns.leave(this.#saver.wakeFd);
    this.#tell({ kind: "switchover", postcopy });
    if (!(yield* this.#awaitGuestStopped())) return;
    if (policy !== "now") this.#collect();
    if (!(yield* postcopy ? this.#handOver() : this.#finish())) return;
    this.#tell({ kind: "memory-sent" });
  }

  /** Frees its buffers and ends the tracking, where `run` has not come to its end. */
  close(): void {
    this.#tracker.stop();
    this.#records.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Rounds, until the rest fits the downtime (false) or postcopy is wanted (true). */
  *#copy(): Steps<boolean> {
    while (yield* this.#sendRound()) {
      const since = this.#collectedAt;
      this.#collectedAt = monotonicNanoseconds();
      const written = yield* this.#turns.between(this.#tracker.collecting(this.#dirty));
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
  *#sendRound(): Steps<boolean> {
    this.#cursor = 0;
    this.#roundPages = 0;
    this.#roundBytes = 0;
    while (!this.#state.stopped && !this.#live.postcopyWanted) {
      const now = monotonicNanoseconds();
      this.#measure(now);
      const delay = this.#limit.delay(now);
      if (delay > 0) {
        yield* this.#turns.nap(delay);
        continue;
      }
      if (!(yield* this.#sendBatch(this.#limit.batchBytes))) return !this.#state.stopped;
      this.#limit.spend(monotonicNanoseconds(), this.#records.byteLength);
      yield* this.#turns.give();
    }
    return false;
  }

  /**
   * Sends the next dirty pages of the round, and at the end those on their way.
   *
   * @param most bytes of the batch; one page goes in any case
   * @returns false at the end or on a stop
   */
  *#sendBatch(most: number): Steps<boolean> {
    this.#beginBatch();
    while (!this.#fill(most)) yield* this.#turns.pause();
    if (this.#cursor === this.#dirty.length) yield* this.#settleBatch();
    return yield* this.#endBatch();
  }

  /**
   * Puts dirty pages into the batch: no generator, for what is done for each page. Called again after a
   * wait it goes on.
   *
   * @returns false when it must wait
   */
  #fill(most: number): boolean {
    const records = this.#records;
    const dirty = this.#dirty;
    const saver = this.#saver;
    let next = this.#cursor;
    let act: NextAct = "save";
    while (next < dirty.length && (records.byteLength < most || records.length === 0)) {
      const page = dirty.next(next);
      next = page < 0 ? dirty.length : page;
      if (page < 0) break;
      act = saver.prepare();
      if (act !== "save") break;
      // Taken before it is read: what is written from now on makes it dirty again.
      dirty.take(page);
      saver.save(page);
      this.#sent.add(page);
      next = page + 1;
    }
    this.#cursor = next;
    return act !== "wait";
  }

  /** Sends the pages on their way; false when it was told to stop first. */
  *#settle(): Steps<boolean> {
    while (this.#saver.outstanding > 0) {
      this.#beginBatch();
      yield* this.#settleBatch();
      if (!(yield* this.#endBatch())) return false;
      yield* this.#turns.give();
    }
    return true;
  }

  *#settleBatch(): Steps {
    while (!this.#saver.settle()) yield* this.#turns.pause();
  }

  #beginBatch(): void {
    this.#records.begin();
    this.#records.openSection(ELEMENT.SECTION_PART, this.#init.sectionId);
  }

  /** Sends the batch; false when there is nothing in it, or on a stop. */
  *#endBatch(): Steps<boolean> {
    const records = this.#records;
    if (records.length === 0) return false;
    records.closeSection(this.#init.sectionId);
    records.end();
    if (!(yield* this.#main.send(records.gather))) return false;
    this.#saver.sent();
    const { background } = this.#state;
    const bytes = records.byteLength;
    background.addPages(records.pages, records.zeroPages);
    background.addBytes(bytes);
    this.#roundPages += records.length - records.zeroPages;
    this.#roundBytes += bytes;
    if (this.#live.guestStopped) this.#live.addDowntimeBytes(bytes);
    else this.#live.addPrecopyBytes(bytes);
    return true;
  }

  /** Takes note of what was written since the last time, at once: the guest stands still, or is about to. */
  #collect(): void {
    this.#tracker.collect(this.#dirty);
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
  *#prepare(): Steps<boolean> {
    if (this.#init.postcopy === "now") return yield* this.#sendDiscards([], PING.PREPARED);
    this.#collect();
    roundToHostPages(this.#layout, this.#dirty);
    return yield* this.#sendDiscards(this.#discards(), PING.PREPARED);
  }

  /** The guest has stopped, and will run without the pages that are dirty. */
  *#handOver(): Steps<boolean> {
    roundToHostPages(this.#layout, this.#dirty);
    const discards = this.#discards();
    if (!this.#discarded) discards.push(this.#discardFirst());
    return yield* this.#sendDiscards(discards, PING.DISCARDED);
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

  *#sendDiscards(discards: readonly DiscardCommand[], ping: number): Steps<boolean> {
    const bytes = encodeDiscards(discards, ping);
    const gather = new Gather(1);
    gather.add(addressOf(bytes), bytes.length);
    const sent = yield* this.#main.send(gather);
    this.#state.background.addBytes(bytes.length); // and keeps them until here
    if (this.#live.guestStopped) this.#live.addDowntimeBytes(bytes.length);
    else if (discards.length > 0) this.#live.addPrecopyBytes(bytes.length);
    return sent;
  }

  /** The guest has stopped: sends the rest, and the end of the memory. */
  *#finish(): Steps<boolean> {
    this.#cursor = 0;
    while (yield* this.#sendBatch(Infinity)) yield* this.#turns.give();
    if (this.#state.stopped) return false;
    const records = this.#records;
    records.begin();
    records.openSection(ELEMENT.SECTION_END, this.#init.sectionId);
    records.closeSection(this.#init.sectionId);
    records.end();
    return yield* this.#main.send(records.gather);
  }

  *#awaitGuestStopped(): Steps<boolean> {
    while (!this.#live.guestStopped) {
      if (this.#state.stopped) return false;
      yield* this.#turns.pause();
    }
    return !this.#state.stopped;
  }
}
