/** The background stream: walks the dirty bitmap and sends every page nobody asked for. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { signalEvent } from "../../ffi/eventfd.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { ELEMENT } from "../../migration/protocol/constants.ts";
import type { Ring } from "../../migration/threads/ring.ts";
import type { Steps, TaskPoll } from "../../migration/threads/task.ts";
import { TO_DESTINATION } from "../../channel/role.ts";
import type { SteppedSender } from "../../channel/stepped_sender.ts";
import { HostPageClaims } from "./host_page_claims.ts";
import { PageRecords } from "./page_records.ts";
import { pageSaver } from "./compressing_pages.ts";
import type { NextAct, PageSaver } from "./page_saver.ts";
import { RateLimit } from "./rate_limit.ts";
import type { SenderInit } from "./sender_init.ts";
import { SenderViews } from "./sender_views.ts";
import type { SourceState } from "./source_state.ts";
import { Turns } from "./turns.ts";

/** What a background sender is made from. */
export interface BackgroundSenderInit extends SenderInit {
  /** The `ram` section's id. */
  readonly sectionId: number;
  /** Bytes a second; 0 for no limit. */
  readonly maxBandwidth: number;
  /** Ends the request server's waits. */
  readonly returnPathWakeFd: number;
}

// Pages in a batch: 64 KiB while faults come, growing to 1 MiB when it is quiet. A fault waits at
// most for one batch to pass through the kernel.
const SMALLEST_BATCH = 16;
const LARGEST_BATCH = 256;

// An urgent page has a channel of its own, but the link's queue is shared: what the background
// stream has on the wire goes first. While faults come, this much may be there; less than two full
// segments would wait for the peer's delayed acknowledgement.
const ON_THE_WIRE = 16 * 1024;
const SEGMENTS_ON_THE_WIRE = 2;
/** Pages in a batch while faults come and the other end, or the link, does not keep up. */
const BATCH_ON_THE_WIRE = 8;
/** Nanoseconds without a request after which the stream may fill the link again. */
const QUIET = 10e6;
/** Nanoseconds between two looks at what is on the wire. */
const WIRE_INTERVAL = 50e3;
/** Nanoseconds after which the stream goes on whatever is on the wire: a peer may acknowledge late. */
const LONGEST_YIELD = 40e6;
/** Nanoseconds between two looks whether an urgent request is still being served, and of all of them. */
const URGENT_INTERVAL = 50e3;
const LONGEST_URGENT = 2e6;

/**
 * Sends the background stream, and the requested pages in the modes in which they wait their turn. Its
 * thread sends those of other sessions too: after each batch they have their turns.
 */
export class BackgroundSender implements Disposable {
  readonly #init: BackgroundSenderInit;
  readonly #state: SourceState;
  readonly #dirty: PageBitmap;
  readonly #requests: Ring;
  readonly #main: SteppedSender;
  readonly #mainRecords: PageRecords;
  readonly #mainSaver: PageSaver;
  readonly #mainClaims: HostPageClaims;
  readonly #preemptRecords: PageRecords;
  readonly #preemptClaims: HostPageClaims;
  #preempt: SteppedSender | undefined;
  readonly #limit: RateLimit;
  readonly #turns: Turns;
  #cursor = 0;
  #batch = SMALLEST_BATCH;
  #requestsSeen = 0;
  #busyUntil = 0;
  /** The destination waits for the host page begun on the main channel, or for what must follow it. */
  #awaited = false;
  readonly #huge: boolean;
  readonly #wireLimit: number;
  readonly #patience: number;

  /**
   * @param init what the control plane prepared
   * @param poll the task's
   */
  constructor(init: BackgroundSenderInit, poll: TaskPoll) {
    this.#init = init;
    const { state, layout, dirty, locator, requests } = new SenderViews(init);
    this.#state = state;
    this.#dirty = dirty;
    this.#requests = requests;
    this.#mainRecords = new PageRecords(layout, locator, LARGEST_BATCH);
    this.#mainSaver = pageSaver(init, this.#mainRecords, this.#state);
    this.#turns = new Turns(poll, {
      events: [init.wakeFd, init.requestFd, this.#mainSaver.wakeFd],
      stopped: () => this.#state.stopped,
      stallTimeout: init.stallTimeout,
    });
    this.#main = this.#turns.sender(init.main, TO_DESTINATION.MAIN);
    this.#huge = layout.hasHugePages;
    this.#mainClaims = new HostPageClaims(layout, this.#dirty);
    this.#preemptRecords = new PageRecords(layout, locator, SMALLEST_BATCH);
    this.#preemptClaims = new HostPageClaims(layout, this.#dirty);
    this.#limit = new RateLimit(init.maxBandwidth);
    const segments = this.#main.end.segmentBytes * SEGMENTS_ON_THE_WIRE;
    this.#wireLimit = Math.max(ON_THE_WIRE, segments);
    // On a link, more than one nap says that the link takes that long, and not the acknowledgement.
    // Segments of 64 KiB are loopback's: who does not keep up there is short of CPU, which urgent
    // threads need too (a QEMU destination on two cores: 75 us a fault instead of 136).
    this.#patience = segments > ON_THE_WIRE ? 0 : 2;
  }

  /** Sends all pages and the end of the stream, or until it is told to stop. */
  *run(): Steps {
    if (!(yield* this.#sendPages())) return;
    if (yield* this.#sendEnd()) signalEvent(this.#init.returnPathWakeFd);
  }

  /** Tells what all steps so far took of the processor. */
  setCpuTime(nanoseconds: number): void {
    this.#state.setCpuTime("background", nanoseconds);
  }

  /**
   * Sends until no page is left to claim, or it is told to stop.
   *
   * @returns false when it was told to stop first
   */
  *#sendPages(): Steps<boolean> {
    while (!this.#state.stopped) {
      // A host page begun on the main channel is finished before another one follows there.
      const vanilla = this.#init.mode === "vanilla";
      if (!this.#requests.empty) {
        if (!vanilla || !this.#unfinished) yield* this.#sendRequested();
        else this.#awaited = true;
      }
      if (this.#state.servesUrgent) yield* this.#yieldUrgent();
      const now = monotonicNanoseconds();
      this.#followLocality(now);
      if (!this.#awaited) {
        const delay = this.#limit.delay(now);
        if (delay > 0) {
          yield* this.#turns.nap(delay);
          continue;
        }
        if (now < this.#busyUntil && !vanilla) yield* this.#yieldWire(now);
      }
      if (!(yield* this.#sendBatch(now))) return !this.#state.stopped;
      yield* this.#turns.give();
    }
    return false;
  }

  /**
   * Ends the stream: waits until the destination has loaded the device state, then sends SECTION_END
   * and EOF. Destinations from 10.2 on take the end of the pages for a failure before that.
   */
  *#sendEnd(): Steps<boolean> {
    while (!this.#state.guestLoaded) {
      if (this.#state.stopped) return false;
      yield* this.#sendRequested();
      const asked = this.#state.returnPath.requests;
      const woken = yield* this.#turns.nap(this.#init.stallTimeout * 1e6);
      // In the mode preempt-full requests are served elsewhere, and wake nobody here.
      const idle = !woken && this.#state.returnPath.requests === asked;
      if (idle && !this.#state.guestLoaded) throw notLoaded(this.#init.stallTimeout);
    }
    const records = this.#mainRecords;
    records.begin();
    records.openSection(ELEMENT.SECTION_END, this.#init.sectionId);
    records.closeSection(this.#init.sectionId);
    records.endStream();
    records.end();
    // Said before it is sent: the destination's SHUT may overtake the return from the call.
    this.#state.setBackgroundEnded();
    if (!(yield* this.#main.send(records.gather))) return false;
    if (this.#init.mode === "preempt" && this.#init.preemptEndOfSection) {
      const preempt = this.#preemptRecords;
      preempt.begin();
      preempt.endRecords();
      preempt.end();
      return yield* this.#preemptChannel().send(preempt.gather);
    }
    return true;
  }

  /** Frees its buffers. */
  close(): void {
    this.#mainRecords.close();
    this.#preemptRecords.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #preemptChannel(): SteppedSender {
    this.#preempt ??= this.#turns.sender({ fd: this.#state.preemptFd }, TO_DESTINATION.PREEMPT);
    return this.#preempt;
  }

  /**
   * The modes vanilla and preempt: requested pages go out here, each in its turn. In preempt-full
   * there come only huge pages that were claimed already, on whose rest somebody waits.
   */
  *#sendRequested(): Steps {
    if (this.#requests.empty) return;
    const onMain = this.#init.mode === "vanilla";
    const records = onMain ? this.#mainRecords : this.#preemptRecords;
    const claims = onMain ? this.#mainClaims : this.#preemptClaims;
    while (!this.#state.stopped) {
      records.begin();
      if (onMain) records.openSection(ELEMENT.SECTION_PART, this.#init.sectionId);
      while (!records.full) {
        if (!claims.begun && !this.#claimRequested(claims)) break;
        records.add(claims.take());
      }
      if (records.pages + records.zeroPages === 0) return;
      if (onMain) records.closeSection(this.#init.sectionId);
      records.end();
      const channel = onMain ? this.#main : this.#preemptChannel();
      if (!(yield* channel.send(records.gather))) return;
      const counters = this.#state.urgent;
      counters.addPages(records.pages, records.zeroPages);
      counters.addBytes(records.byteLength);
      yield* this.#turns.give();
    }
  }

  /** Claims the first of the requested pages that nobody has claimed; false when there is none. */
  #claimRequested(claims: HostPageClaims): boolean {
    while (!this.#requests.empty) {
      const page = this.#requests.peek();
      this.#requests.drop();
      const claimed = claims.claim(page);
      this.#cursor = claims.behind;
      if (claimed) return true;
      if (this.#mainClaims.holds(page)) this.#awaited = true;
    }
    return false;
  }

  /** The walk goes on behind the page asked for last: its neighbours are likely to be next. */
  #followLocality(now: number): void {
    const page = this.#state.takeLocality();
    if (page >= 0) this.#cursor = page + 1;
    const requests = this.#state.returnPath.requests;
    if (requests !== this.#requestsSeen) {
      this.#requestsSeen = requests;
      this.#busyUntil = now + QUIET;
      this.#batch = SMALLEST_BATCH;
    } else if (this.#batch < LARGEST_BATCH) {
      this.#batch *= 2;
    }
  }

  /** Starts no batch while an urgent request is being served; but not for long. */
  *#yieldUrgent(): Steps {
    const end = monotonicNanoseconds() + LONGEST_URGENT;
    do yield* this.#turns.doze(URGENT_INTERVAL); while (
      this.#state.servesUrgent && monotonicNanoseconds() < end
    );
  }

  /** Lets the link's queue run empty, for the pages that are asked for meanwhile. */
  *#yieldWire(now: number): Steps {
    const end = now + LONGEST_YIELD;
    for (let naps = 0; this.#main.end.unacknowledged > this.#wireLimit; naps++) {
      if (naps === this.#patience) this.#batch = BATCH_ON_THE_WIRE;
      if (this.#state.stopped || (yield* this.#turns.nap(WIRE_INTERVAL))) return;
      if (monotonicNanoseconds() > end) return;
    }
  }

  /**
   * True while the host page claimed last is not all sent: a destination takes them one by one, and
   * compressed pages come out in any order.
   */
  get #unfinished(): boolean {
    return this.#mainClaims.begun || (this.#huge && this.#mainSaver.outstanding > 0);
  }

  /**
   * Whether pages on their way must not wait for the next batch: it may be held back for a while, and
   * somebody may ask for just these.
   */
  #hurries(now: number): boolean {
    if (this.#awaited || now < this.#busyUntil || this.#init.maxBandwidth > 0) return true;
    return this.#huge && !this.#mainClaims.begun;
  }

  /** Sends the next batch of unclaimed pages; false when there was none, or on a stop. */
  *#sendBatch(now: number): Steps<boolean> {
    const records = this.#mainRecords;
    const saver = this.#mainSaver;
    const most = this.#batch * this.#init.targetPageSize;
    records.begin();
    records.openSection(ELEMENT.SECTION_PART, this.#init.sectionId);
    let end = this.#fill(most);
    for (; end === "wait"; end = this.#fill(most)) yield* this.#turns.pause();
    if (end === "none" || records.length === 0 || this.#hurries(now)) {
      while (!saver.settle()) yield* this.#turns.pause();
    }
    if (!this.#unfinished) this.#awaited = false;
    if (records.length === 0) return false;
    records.closeSection(this.#init.sectionId);
    records.end();
    if (!(yield* this.#main.send(records.gather))) return false;
    saver.sent();
    const counters = this.#state.background;
    counters.addPages(records.pages, records.zeroPages);
    counters.addBytes(records.byteLength);
    this.#limit.spend(monotonicNanoseconds(), records.byteLength);
    return true;
  }

  /**
   * Puts unclaimed pages into the batch: no generator, for what is done for each page. Called again after a
   * wait it goes on.
   *
   * @param most bytes of the batch
   * @returns why it ended; `"none"` when no unclaimed page is left
   */
  #fill(most: number): NextAct | "none" {
    const records = this.#mainRecords;
    const claims = this.#mainClaims;
    const saver = this.#mainSaver;
    const pageBytes = this.#init.targetPageSize;
    const limit = Math.max(1, Math.min(most, this.#limit.batchBytes));
    while (
      records.length + saver.outstanding === 0 ||
      records.byteLength + saver.outstanding * pageBytes < limit
    ) {
      const next = saver.prepare();
      if (next !== "save") return next;
      if (!claims.begun) {
        if (this.#awaited || this.#unfinished) break;
        if (!this.#claimNext()) return "none";
      }
      saver.save(claims.take());
    }
    return "send";
  }

  /** Claims the next host page of the walk; false when there is none left. */
  #claimNext(): boolean {
    let wrapped = false;
    while (true) {
      const page = this.#dirty.next(this.#cursor);
      if (page < 0) {
        if (wrapped) return false;
        wrapped = true;
        this.#cursor = 0;
        continue;
      }
      const claimed = this.#mainClaims.claim(page);
      this.#cursor = this.#mainClaims.behind;
      if (claimed) return true;
    }
  }
}

function notLoaded(milliseconds: number): MigrationError {
  return new MigrationError(
    "STALLED",
    `Destination has not loaded the device state after ${
      milliseconds / 1000
    } s without a request, ` +
      "all pages are sent: see whether it still runs",
  );
}
