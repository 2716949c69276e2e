/** The background stream: walks the dirty bitmap and sends every page nobody asked for. */

import { monotonicNanoseconds, threadCpuNanoseconds } from "../../ffi/clock.ts";
import { clearEvent } from "../../ffi/eventfd.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { ELEMENT } from "../../migration/protocol/constants.ts";
import type { Ring } from "../../migration/threads/ring.ts";
import { BlockingSender } from "../../channel/blocking_sender.ts";
import type { ConnectionInit } from "../../channel/connection.ts";
import { type ChannelRole, TO_DESTINATION } from "../../channel/role.ts";
import { SendingEnd } from "../../channel/sending_end.ts";
import { HostPageClaims } from "./host_page_claims.ts";
import { PageRecords } from "./page_records.ts";
import { pageSaver } from "./compressing_pages.ts";
import type { PageSaver } from "./page_saver.ts";
import { RateLimit } from "./rate_limit.ts";
import type { SenderInit } from "./sender_init.ts";
import { SenderViews } from "./sender_views.ts";
import type { SourceState } from "./source_state.ts";

/** What a background sender is made from. */
export interface BackgroundSenderInit extends SenderInit {
  /** The `ram` section's id. */
  readonly sectionId: number;
  /** Bytes a second; 0 for no limit. */
  readonly maxBandwidth: number;
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

/** Sends the background stream, and the requested pages in the modes in which they wait their turn. */
export class BackgroundSender implements Disposable {
  readonly #init: BackgroundSenderInit;
  readonly #state: SourceState;
  readonly #dirty: PageBitmap;
  readonly #requests: Ring;
  readonly #main: BlockingSender;
  readonly #mainRecords: PageRecords;
  readonly #mainSaver: PageSaver;
  readonly #mainClaims: HostPageClaims;
  readonly #preemptRecords: PageRecords;
  readonly #preemptClaims: HostPageClaims;
  #preempt: BlockingSender | undefined;
  readonly #limit: RateLimit;
  readonly #poll = new PollSet(2);
  #cursor = 0;
  #batch = SMALLEST_BATCH;
  #requestsSeen = 0;
  #busyUntil = 0;
  /** The destination waits for the host page begun on the main channel, or for what must follow it. */
  #awaited = false;
  readonly #huge: boolean;
  readonly #wireLimit: number;
  readonly #patience: number;

  /** @param init what the control plane prepared */
  constructor(init: BackgroundSenderInit) {
    this.#init = init;
    const { state, layout, dirty, locator, requests } = new SenderViews(init);
    this.#state = state;
    this.#dirty = dirty;
    this.#requests = requests;
    this.#main = this.#sender(init.main, TO_DESTINATION.MAIN);
    this.#mainRecords = new PageRecords(layout, locator, LARGEST_BATCH);
    this.#mainSaver = pageSaver(init, this.#mainRecords, this.#state);
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
    this.#poll.watch(0, init.wakeFd, PollEvents.IN);
    this.#poll.watch(1, init.requestFd, PollEvents.IN);
  }

  /**
   * Sends until no page is left to claim, or it is told to stop.
   *
   * @returns false when it was told to stop first
   */
  sendPages(): boolean {
    while (!this.#state.stopped) {
      // A host page begun on the main channel is finished before another one follows there.
      const vanilla = this.#init.mode === "vanilla";
      if (!vanilla || !this.#unfinished) this.#sendRequested();
      else if (!this.#requests.empty) this.#awaited = true;
      this.#state.awaitNoUrgent(2);
      const now = monotonicNanoseconds();
      this.#followLocality(now);
      if (!this.#awaited) {
        const delay = this.#limit.delay(now);
        if (delay > 0) {
          this.#nap(delay);
          continue;
        }
        if (now < this.#busyUntil && !vanilla) this.#yieldWire(now);
      }
      if (!this.#sendBatch(now)) return !this.#state.stopped;
    }
    return false;
  }

  /**
   * Ends the stream: waits until the destination has loaded the device state, then sends SECTION_END
   * and EOF. Destinations from 10.2 on take the end of the pages for a failure before that.
   */
  sendEnd(): boolean {
    while (!this.#state.guestLoaded) {
      if (this.#state.stopped) return false;
      this.#sendRequested();
      const asked = this.#state.returnPath.requests;
      const woken = this.#sleep(this.#init.stallTimeout);
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
    if (!this.#main.send(records.gather)) return false;
    if (this.#init.mode === "preempt" && this.#init.preemptEndOfSection) {
      const preempt = this.#preemptRecords;
      preempt.begin();
      preempt.endRecords();
      preempt.end();
      return this.#preemptChannel().send(preempt.gather);
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

  #sender(connection: ConnectionInit, role: ChannelRole): BlockingSender {
    const { wakeFd, stallTimeout } = this.#init;
    const stopped = () => this.#state.stopped;
    return new BlockingSender(new SendingEnd(connection, role), { wakeFd, stopped, stallTimeout });
  }

  #preemptChannel(): BlockingSender {
    this.#preempt ??= this.#sender({ fd: this.#state.preemptFd }, TO_DESTINATION.PREEMPT);
    return this.#preempt;
  }

  /**
   * The modes vanilla and preempt: requested pages go out here, each in its turn. In preempt-full
   * there come only huge pages that were claimed already, on whose rest somebody waits.
   */
  #sendRequested(): void {
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
      if (!channel.send(records.gather)) return;
      const counters = this.#state.urgent;
      counters.addPages(records.pages, records.zeroPages);
      counters.addBytes(records.byteLength);
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

  /** Lets the link's queue run empty, for the pages that are asked for meanwhile. */
  #yieldWire(now: number): void {
    const end = now + LONGEST_YIELD;
    for (let naps = 0; this.#main.end.unacknowledged > this.#wireLimit; naps++) {
      if (naps === this.#patience) this.#batch = BATCH_ON_THE_WIRE;
      if (this.#state.stopped || this.#nap(WIRE_INTERVAL)) return;
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
  #sendBatch(now: number): boolean {
    const records = this.#mainRecords;
    const claims = this.#mainClaims;
    const saver = this.#mainSaver;
    const pageBytes = this.#init.targetPageSize;
    const most = Math.max(1, Math.min(this.#batch * pageBytes, this.#limit.batchBytes));
    let left = true;
    records.begin();
    records.openSection(ELEMENT.SECTION_PART, this.#init.sectionId);
    while (
      records.length + saver.outstanding === 0 ||
      records.byteLength + saver.outstanding * pageBytes < most
    ) {
      if (!saver.prepare()) break;
      if (!claims.begun) {
        if (this.#awaited || this.#unfinished) break;
        left = this.#claimNext();
        if (!left) break;
      }
      saver.save(claims.take());
    }
    if (!left || records.length === 0 || this.#hurries(now)) saver.settle();
    if (!this.#unfinished) this.#awaited = false;
    if (records.length === 0) return false;
    records.closeSection(this.#init.sectionId);
    records.end();
    if (!this.#main.send(records.gather)) return false;
    saver.sent();
    const counters = this.#state.background;
    counters.addPages(records.pages, records.zeroPages);
    counters.addBytes(records.byteLength);
    this.#limit.spend(monotonicNanoseconds(), records.byteLength);
    this.#state.setCpuTime("background", threadCpuNanoseconds());
    return true;
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

  /** Waits; returns true when it was woken before the time. */
  #sleep(milliseconds: number): boolean {
    return this.#woken(this.#poll.wait(milliseconds));
  }

  /** Waits for less than milliseconds; returns true when it was woken before the time. */
  #nap(nanoseconds: number): boolean {
    return this.#woken(this.#poll.waitNanoseconds(nanoseconds));
  }

  #woken(ready: number): boolean {
    if (this.#poll.ready(0) !== 0) clearEvent(this.#init.wakeFd);
    if (this.#poll.ready(1) !== 0) clearEvent(this.#init.requestFd);
    return ready !== 0;
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
