/** The background stream: walks the dirty bitmap and sends every page nobody asked for. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { signalEvent } from "../../ffi/eventfd.ts";
import { isLost } from "../../migration/migration_error.ts";
import { ELEMENT } from "../../migration/protocol/constants.ts";
import type { Ring } from "../../migration/threads/ring.ts";
import type { Steps, TaskPoll } from "../../migration/threads/task.ts";
import { TO_DESTINATION } from "../../channel/role.ts";
import type { SteppedSender } from "../../channel/stepped_sender.ts";
import { HostPageClaims } from "./host_page_claims.ts";
import { LastPages, LONGEST_NAP } from "./last_pages.ts";
import { LinkCourtesy } from "./link_courtesy.ts";
import { PageRecords } from "./page_records.ts";
import { pageSaver } from "./compressing_pages.ts";
import type { NextAct, PageSaver } from "./page_saver.ts";
import { PageWalk } from "./page_walk.ts";
import { RateLimit } from "./rate_limit.ts";
import { preemptChannel, type SenderInit } from "./sender_init.ts";
import type { EarlyPages } from "../order/order_init.ts";
import { holdBack } from "../order/hold_back.ts";
import { plannedFirst } from "../order/planned_first.ts";
import { SenderViews } from "./sender_views.ts";
import type { SourceState } from "./source_state.ts";
import { awaitAnswered, endPreempt, endsPreempt, mayPassOver, notLoaded } from "./stream_end.ts";
import { type PageLocator, presentPages } from "../../pages/page_locator.ts";
import { StoredPages } from "./stored_pages.ts";
import { Turns } from "./turns.ts";

/** What a background sender is made from. */
export interface BackgroundSenderInit extends SenderInit {
  /** The `ram` section's id. */
  readonly sectionId: number;
  /** Ends the request server's waits. */
  readonly returnPathWakeFd: number;
  /** What is sent before the guest runs; absent: nothing. */
  readonly early?: EarlyPages;
}

// Pages in a batch: as many as LinkCourtesy says while faults come, growing to 1 MiB when it is quiet. A
// fault waits at most for one batch to pass through the kernel.
const SMALLEST_BATCH = 16;
const LARGEST_BATCH = 256;

/** Nanoseconds without a request after which the stream may fill the link again. */
const QUIET = 10e6;

/**
 * Sends the background stream, and the requested pages in the modes in which they wait their turn. Its
 * thread sends those of other sessions too: after each batch they have their turns.
 */
export class BackgroundSender implements Disposable {
  readonly #init: BackgroundSenderInit;
  readonly #state: SourceState;
  readonly #locator: PageLocator;
  readonly #requests: Ring;
  readonly #main: SteppedSender;
  readonly #mainRecords: PageRecords;
  readonly #mainSaver: PageSaver;
  readonly #mainClaims: HostPageClaims;
  readonly #preemptRecords: PageRecords;
  readonly #preemptClaims: HostPageClaims;
  #preempt: SteppedSender | undefined;
  readonly #walk: PageWalk;
  readonly #requested: StoredPages;
  readonly #limit: RateLimit;
  readonly #lastPages: LastPages;
  readonly #turns: Turns;
  #batch = SMALLEST_BATCH;
  #requestsSeen = 0;
  #busyUntil = 0;
  /** The destination waits for the host page begun on the main channel, or for what must follow it. */
  #awaited = false;
  readonly #huge: boolean;
  readonly #courtesy: LinkCourtesy;

  /**
   * @param init what the control plane prepared
   * @param poll the task's
   */
  constructor(init: BackgroundSenderInit, poll: TaskPoll) {
    this.#init = init;
    const { state, layout, dirty, locator, requests } = new SenderViews(init);
    this.#state = state;
    this.#locator = locator;
    this.#requests = requests;
    this.#mainRecords = new PageRecords(layout, locator, LARGEST_BATCH);
    this.#mainSaver = pageSaver(init, this.#mainRecords, this.#state);
    this.#turns = new Turns(poll, {
      events: [init.wakeFd, init.requestFd, this.#mainSaver.wakeFd],
      stopped: () => this.#state.stopped,
      check: () => locator.check(),
      stallTimeout: init.stallTimeout,
    });
    this.#main = this.#turns.sender(init.main, TO_DESTINATION.MAIN);
    this.#huge = layout.hasHugePages;
    this.#mainClaims = new HostPageClaims(layout, dirty);
    this.#preemptRecords = new PageRecords(layout, locator, SMALLEST_BATCH);
    this.#preemptClaims = new HostPageClaims(layout, dirty);
    const { pages, stallTimeout, order } = init;
    const planned = plannedFirst(order, layout, dirty, locator, stallTimeout);
    this.#walk = new PageWalk(dirty, presentPages(pages), locator, stallTimeout, planned);
    this.#requested = new StoredPages(locator, init.stallTimeout);
    this.#limit = new RateLimit(() => state.maxPostcopyBandwidth);
    this.#lastPages = new LastPages(this.#walk, this.#state);
    const { targetPageSize: pageBytes } = init;
    const stream = {
      pages: this.#walk.count,
      pageBytes,
      limited: () => state.maxPostcopyBandwidth > 0,
    };
    this.#courtesy = new LinkCourtesy(this.#main.end, this.#state, this.#turns, stream);
  }

  /**
   * Sends all pages and the end of the stream, or until it is told to stop.
   *
   * @throws {MigrationError} `IMAGE_CHANGED` or `IMAGE_UNREADABLE` before a page goes out that is not the
   * one that was saved, and before the end that would have it confirmed
   */
  *run(): Steps {
    try {
      const { order, stallTimeout } = this.#init;
      const serve = () => this.#sendRequested();
      yield* holdBack(order, this.#state, stallTimeout, this.#turns, serve);
      if (!(yield* this.#sendPages()) || !(yield* this.#awaitLoaded())) return;
      if (this.#walk.passesOver && !mayPassOver(this.#state)) {
        this.#walk.takeAll();
        if (!(yield* this.#sendPages())) return;
      }
      if (!(yield* awaitAnswered(this.#init, this.#state, this.#turns, serve))) return;
      if (!(yield* this.#sendEnd())) return;
      signalEvent(this.#init.returnPathWakeFd);
      if (this.#walk.passesOver && this.#init.mode === "preempt") yield* this.#answerLate();
    } catch (error) {
      throw this.#locator.reasonOf(error);
    }
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
      if (this.#state.servesUrgent) yield* this.#courtesy.yieldUrgent();
      const now = monotonicNanoseconds();
      this.#followLocality(now);
      if (!this.#awaited) {
        const delay = this.#limit.delay(now);
        // The limit is for the sake of requests: when all pages are claimed, there will be none.
        if (delay > 0 && this.#lastPages.left) {
          yield* this.#turns.nap(Math.min(delay, LONGEST_NAP));
          this.#walk.forget();
          continue;
        }
        if (now < this.#busyUntil && !vanilla) {
          const most = yield* this.#courtesy.yieldWire(now);
          this.#batch = Math.min(LARGEST_BATCH, most / this.#init.targetPageSize);
        }
      }
      if (!(yield* this.#sendBatch(now))) return !this.#state.stopped;
      yield* this.#turns.give();
    }
    return false;
  }

  /**
   * Waits until the destination has loaded the device state: from 10.2 on one takes the end of the pages for a
   * failure before that.
   *
   * @returns false when it was told to stop first
   */
  *#awaitLoaded(): Steps<boolean> {
    while (!this.#state.guestLoaded) {
      if (this.#state.stopped) return false;
      yield* this.#sendRequested();
      const asked = this.#state.returnPath.requests;
      const woken = yield* this.#turns.nap(this.#init.stallTimeout * 1e6);
      // In the mode preempt-full requests are served elsewhere, and wake nobody here.
      const idle = !woken && this.#state.returnPath.requests === asked;
      if (idle && !this.#state.guestLoaded) throw notLoaded(this.#init.stallTimeout);
    }
    yield* this.#sendRequested();
    return !this.#state.stopped;
  }

  /** Ends the stream: SECTION_END and EOF. */
  *#sendEnd(): Steps<boolean> {
    const records = this.#mainRecords;
    records.begin();
    records.openSection(ELEMENT.SECTION_END, this.#init.sectionId);
    records.closeSection(this.#init.sectionId);
    records.endStream();
    records.end();
    this.#locator.check();
    // Said before it is sent: the destination's SHUT may overtake the return from the call.
    this.#state.setBackgroundEnded();
    if (!(yield* this.#main.send(records.gather))) return false;
    if (endsPreempt(this.#init.mode, this.#state)) {
      yield* endPreempt(this.#preemptRecords, this.#preemptChannel(), this.#state);
    }
    return !this.#state.stopped;
  }

  /**
   * The stream has ended, and pages that were passed over may still be asked for: a QEMU with a preempt channel
   * does not end before each that it asked for has come.
   */
  *#answerLate(): Steps {
    try {
      while (!this.#state.stopped && !this.#state.confirmed) {
        yield* this.#sendRequested();
        yield* this.#turns.nap(this.#init.stallTimeout * 1e6);
      }
    } catch (error) {
      // One that has all that it waits for may close the channel before it says so.
      if (!isLost(error)) throw error;
    }
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
    this.#preempt ??= this.#turns.sender(
      preemptChannel(this.#init, this.#state.preemptFd),
      TO_DESTINATION.PREEMPT,
    );
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
        if (!this.#requested.has(claims.next, claims.end)) break;
        records.add(claims.take());
      }
      if (records.length === 0) {
        if (!claims.begun) return;
        yield* this.#turns.nap(this.#requested.await(claims.next, claims.end));
        continue;
      }
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
      this.#walk.goTo(claims.behind);
      if (claimed) {
        this.#requested.forget();
        return true;
      }
      if (this.#mainClaims.holds(page)) this.#awaited = true;
    }
    return false;
  }

  /** The walk goes on behind the page asked for last: its neighbours are likely to be next. */
  #followLocality(now: number): void {
    const page = this.#state.takeLocality();
    if (page >= 0) this.#walk.goTo(page + 1);
    const requests = this.#state.returnPath.requests;
    if (requests !== this.#requestsSeen) {
      this.#requestsSeen = requests;
      this.#busyUntil = now + QUIET;
      this.#batch = SMALLEST_BATCH;
    } else if (this.#batch < LARGEST_BATCH) {
      this.#batch *= 2;
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
    if (this.#awaited || now < this.#busyUntil || this.#state.maxPostcopyBandwidth > 0) return true;
    return this.#huge && !this.#mainClaims.begun;
  }

  /**
   * Sends the next batch of unclaimed pages, or waits a little for the disk; false when there was none, or on a
   * stop.
   */
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
    if (records.length === 0) {
      if (end !== "disk") return false;
      yield* this.#turns.nap(this.#walk.await());
      return true;
    }
    this.#walk.advance();
    records.closeSection(this.#init.sectionId);
    records.end();
    if (!(yield* this.#main.send(records.gather))) return false;
    saver.sent();
    const counters = this.#state.background;
    counters.addPages(records.pages, records.zeroPages);
    counters.addBytes(records.byteLength);
    this.#courtesy.sent(records.length, records.byteLength);
    this.#limit.spend(monotonicNanoseconds(), records.byteLength);
    return true;
  }

  /**
   * Puts unclaimed pages into the batch: no generator, for what is done for each page. Called again after a
   * wait it goes on.
   *
   * @param most bytes of the batch
   * @returns why it ended; `"none"` when no unclaimed page is left, `"disk"` when the next must be read first
   */
  #fill(most: number): NextAct | "none" | "disk" {
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
        const page = this.#walk.find();
        if (page < 0) return "none";
        // Not claimed before it is there: meanwhile somebody may ask for it.
        if (!this.#walk.atHand(page)) return "disk";
        const claimed = claims.claim(page);
        this.#walk.goTo(claims.behind);
        if (!claimed) continue;
      }
      if (!this.#walk.atHand(claims.next)) return "disk";
      saver.save(claims.take());
    }
    return "send";
  }
}
