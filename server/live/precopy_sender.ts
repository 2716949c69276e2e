/** Precopy: the memory of a guest that runs, in rounds, until it may stop. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { Gather } from "../../ffi/gather.ts";
import { addressOf } from "../../ffi/memory.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
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
import type { PageSaver } from "../sending/page_saver.ts";
import { RateLimit } from "../sending/rate_limit.ts";
import { batchPages, RoundSender } from "../sending/round_sender.ts";
import type { SenderInit } from "../sending/sender_init.ts";
import { SenderViews } from "../sending/sender_views.ts";
import type { SourceState } from "../sending/source_state.ts";
import { Turns } from "../sending/turns.ts";
import { WriteOrder } from "./write_order.ts";

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

/** Nanoseconds between two rounds of a guest that could stop, while the destination has not approved it. */
const APPROVAL_NAP = 100e6;

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
  readonly #order: WriteOrder;
  readonly #main: SteppedSender;
  readonly #records: PageRecords;
  readonly #saver: PageSaver;
  readonly #limit: RateLimit;
  readonly #meter = new BandwidthMeter();
  readonly #convergence = new Convergence();
  readonly #turns: Turns;
  readonly #round: RoundSender;
  #collectedAt = 0;
  #discarded = false;

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
    this.#order = new WriteOrder(layout, init.order);
    this.#tracker = new DirtyTracker({ blocks: init.tracked, targetPageSize });
    this.#records = new PageRecords(layout, locator, batchPages(init));
    this.#saver = saver(init, this.#records, this.#state);
    this.#limit = new RateLimit(() => init.maxBandwidth);
    this.#turns = new Turns(poll, {
      events: [wakeFd, this.#saver.wakeFd],
      stopped: () => this.#state.stopped,
      stallTimeout,
    });
    this.#main = this.#turns.sender(init.main, TO_DESTINATION.MAIN);
    this.#round = new RoundSender({
      sectionId: init.sectionId,
      state,
      dirty,
      pages: {
        atHand: () => true,
        take: (page) => {
          dirty.take(page);
          this.#sent.add(page);
        },
      },
      records: this.#records,
      saver: this.#saver,
      main: this.#main,
      turns: this.#turns,
      count: (bytes) => {
        if (this.#live.guestStopped) this.#live.addDowntimeBytes(bytes);
        else this.#live.addPrecopyBytes(bytes);
      },
    });
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
    if (policy === "now") yield* this.#awaitApproval();
    const postcopy = policy === "now" || (yield* this.#copy());
    // Pages on their way are older than what is discarded now, and would come after it.
    if (!(yield* this.#round.settle()) || this.#state.stopped) return;
    if (postcopy && !(yield* this.#prepare())) return;
    // What is compressed from now on may be the background thread's.
    if (postcopy) this.#turns.leave(this.#saver.wakeFd);
    this.#tell({ kind: "switchover", postcopy });
    if (!(yield* this.#awaitGuestStopped())) return;
    if (policy !== "now") this.#collect();
    if (!(yield* postcopy ? this.#handOver() : this.#finish())) return;
    this.#tell({ kind: "memory-sent" });
    // The guest stands still no longer than it must: the stream takes up what is planned once that is there.
    if (postcopy) yield* this.#turns.between(this.#order.planning(this.#dirty));
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
      yield* this.#turns.between(this.#order.noting(this.#dirty, this.#sent));
      const remaining = this.#dirty.count();
      this.#convergence.roundEnded(remaining);
      this.#estimate(remaining);
      const { postcopy, downtimeLimit } = this.#init;
      const fits = remaining === 0 || this.#live.expectedDowntime <= downtimeLimit;
      if (fits || switchesToPostcopy(postcopy, this.#live.rounds, this.#convergence)) {
        if (!this.#live.unapproved) return !fits;
        yield* this.#turns.nap(APPROVAL_NAP); // there may be nothing to send
      }
      this.#live.rounds++;
    }
    return true;
  }

  /** Sends every dirty page once; false when the round was broken off, by a stop or for postcopy. */
  *#sendRound(): Steps<boolean> {
    const round = this.#round;
    round.begin();
    while (!this.#state.stopped && (this.#live.unapproved || !this.#live.postcopyWanted)) {
      const now = monotonicNanoseconds();
      this.#measure(now);
      const delay = this.#limit.delay(now);
      if (delay > 0) {
        yield* this.#turns.nap(delay);
        continue;
      }
      const before = round.bytes;
      const end = yield* round.send(this.#limit.batchBytes);
      if (end !== "more") return end !== "stop";
      this.#limit.spend(monotonicNanoseconds(), round.bytes - before);
      yield* this.#turns.give();
    }
    return false;
  }

  /** Takes note of what was written since the last time, at once: the guest stands still, or is about to. */
  #collect(): void {
    this.#tracker.collect(this.#dirty);
  }

  #measure(now: number, last = false): void {
    if (!last && !this.#meter.due(now)) return;
    const taken = this.#state.background.bytes - this.#round.unacknowledged;
    this.#meter.sample(now, taken, last);
    this.#live.bandwidth = this.#meter.bytesPerSecond;
  }

  /** How long the guest would stand still if it stopped now. */
  #estimate(remaining: number): void {
    this.#measure(monotonicNanoseconds(), true);
    // What is to be compressed will take what the pages of this round took.
    const { compression, multifd } = this.#init;
    const { pages, bytes: sent } = this.#round;
    const measured = (compression ?? multifd) !== undefined && pages > 0;
    const pageBytes = measured ? sent / pages : this.#init.targetPageSize + RECORD_BYTES;
    const bytes = remaining * pageBytes + this.#round.unacknowledged;
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
    yield* this.#turns.between(this.#order.noting(this.#dirty, this.#sent));
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
    this.#round.begin();
    while ((yield* this.#round.send(Infinity)) === "more") yield* this.#turns.give();
    return !this.#state.stopped && (yield* this.#round.finish());
  }

  /** Nothing is sent before the guest stops, which it may not do yet. */
  *#awaitApproval(): Steps {
    while (this.#live.unapproved && !this.#state.stopped) yield* this.#turns.pause();
  }

  *#awaitGuestStopped(): Steps<boolean> {
    while (!this.#live.guestStopped) {
      if (this.#state.stopped) return false;
      yield* this.#turns.pause();
    }
    return !this.#state.stopped;
  }
}
