/** The pages that a plan has in front, sent before the guest runs: as a precopy, of which nothing is discarded. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import { ELEMENT } from "../../migration/protocol/constants.ts";
import type { Steps, TaskPoll } from "../../migration/threads/task.ts";
import { TO_DESTINATION } from "../../channel/role.ts";
import type { SteppedSender } from "../../channel/stepped_sender.ts";
import { type PageLocator, presentPages } from "../../pages/page_locator.ts";
import { pageSaver } from "../sending/compressing_pages.ts";
import { HostPageClaims } from "../sending/host_page_claims.ts";
import { PageRecords } from "../sending/page_records.ts";
import type { NextAct, PageSaver } from "../sending/page_saver.ts";
import { RateLimit } from "../sending/rate_limit.ts";
import type { SenderInit } from "../sending/sender_init.ts";
import { SenderViews } from "../sending/sender_views.ts";
import type { SourceState } from "../sending/source_state.ts";
import { Turns } from "../sending/turns.ts";
import { type EarlyAct, earlyAct } from "./early_policy.ts";
import type { EarlyPages } from "./order_init.ts";
import { PlannedPages } from "./planned_pages.ts";
import { SendPlan } from "./send_plan.ts";

/** What it is made from. */
export interface EarlySenderInit extends SenderInit {
  /** The `ram` section's id. */
  readonly sectionId: number;
}

/** Pages in a batch: the first ones show how fast the link is. */
const SMALLEST_BATCH = 16;
const LARGEST_BATCH = 256;
/** Nanoseconds between two looks whether the link has taken anything. */
const LINK_INTERVAL = 1e6;
/** Nanoseconds after which it looks at what it waits for, though nobody woke it. */
const LONGEST_NAP = 500e6;

/** Sends them, on the thread and in the task of the background stream, which follows when the guest runs. */
export class EarlySender implements Disposable {
  readonly #init: EarlySenderInit;
  readonly #early: EarlyPages;
  readonly #state: SourceState;
  readonly #layout: RamLayout;
  readonly #dirty: PageBitmap;
  readonly #present: PageBitmap | undefined;
  readonly #locator: PageLocator;
  readonly #plan: SendPlan;
  readonly #planned: PlannedPages;
  readonly #claims: HostPageClaims;
  readonly #records: PageRecords;
  readonly #saver: PageSaver;
  readonly #limit: RateLimit;
  readonly #turns: Turns;
  readonly #main: SteppedSender;
  /** Places of the plan from here on are left out. */
  readonly #end: number;
  #batch = SMALLEST_BATCH;
  #sent = 0;
  /** Nanoseconds for which nothing was to be sent. */
  #idle = 0;
  #runs: number;
  /** Target pages that were not sent. */
  #left: number;

  /**
   * @param init what the control plane prepared, with a plan
   * @param early what is sent
   * @param poll the task's
   */
  constructor(init: EarlySenderInit, early: EarlyPages, poll: TaskPoll) {
    this.#init = init;
    this.#early = early;
    const { state, layout, dirty, locator } = new SenderViews(init);
    this.#state = state;
    this.#layout = layout;
    this.#dirty = dirty;
    this.#locator = locator;
    const present = early.passesOver ? presentPages(init.pages) : undefined;
    this.#present = present && new PageBitmap(dirty.length, present);
    this.#plan = new SendPlan(layout, init.order!.plan);
    this.#planned = new PlannedPages(this.#plan, layout, dirty, locator, init.stallTimeout);
    this.#claims = new HostPageClaims(layout, dirty);
    this.#records = new PageRecords(layout, locator, LARGEST_BATCH);
    this.#saver = pageSaver(init, this.#records, state);
    this.#limit = new RateLimit(() => state.maxPostcopyBandwidth);
    this.#turns = new Turns(poll, {
      events: [init.wakeFd, init.requestFd, this.#saver.wakeFd],
      stopped: () => state.stopped,
      check: () => locator.check(),
      stallTimeout: init.stallTimeout,
    });
    this.#main = this.#turns.sender(init.main, TO_DESTINATION.MAIN);
    this.#end = this.#plan.early;
    this.#runs = layout.blocks.length;
    this.#left = layout.pageCount;
  }

  /**
   * Sends as many as go in the time.
   *
   * @throws {MigrationError} when the destination goes away or takes nothing, or `IMAGE_CHANGED`,
   * `IMAGE_UNREADABLE`
   */
  *run(): Steps {
    try {
      yield* this.#send();
    } catch (error) {
      throw this.#locator.reasonOf(error);
    }
  }

  /** Waits until the guest is handed over, or it is told to stop. */
  *awaitStream(): Steps {
    while (!this.#state.streams && !this.#state.stopped) yield* this.#turns.nap(LONGEST_NAP);
  }

  /** Frees its buffers. */
  [Symbol.dispose](): void {
    this.#records.close();
  }

  *#send(): Steps {
    const limit = this.#early.milliseconds * 1e6;
    const began = monotonicNanoseconds();
    while (!this.#state.stopped) {
      const now = monotonicNanoseconds();
      // A host page that is begun goes whole, however late it is: nothing may follow a part of it.
      const act = this.#claims.begun ? "send" : this.#act(now - began, limit);
      if (act === "end") break;
      if (act === "wait") {
        yield* this.#turns.nap(LINK_INTERVAL);
        continue;
      }
      const delay = this.#limit.delay(now);
      if (delay > 0) {
        const most = this.#claims.begun ? LONGEST_NAP : Math.min(LONGEST_NAP, began + limit - now);
        yield* this.#nap(Math.min(delay, most));
        this.#planned.forget();
        continue;
      }
      if (!(yield* this.#sendBatch())) break;
      yield* this.#turns.give();
    }
    while (this.#saver.outstanding > 0 && !this.#state.stopped) {
      this.#beginBatch();
      while (!this.#saver.settle()) yield* this.#turns.pause();
      yield* this.#endBatch();
    }
  }

  #act(elapsed: number, limit: number): EarlyAct {
    const { unacknowledged } = this.#main.end;
    const [idle, sent, runs] = [this.#idle, this.#sent, this.#runs];
    const progress = { elapsed, idle, sent, unacknowledged, runs };
    return earlyAct(progress, this.#batch * this.#init.targetPageSize, limit);
  }

  /** Waits for something else than the link. */
  *#nap(nanoseconds: number): Steps {
    const before = monotonicNanoseconds();
    yield* this.#turns.nap(nanoseconds);
    this.#idle += monotonicNanoseconds() - before;
  }

  /** Sends a batch, or waits a little for the disk; false when there is nothing left, or on a stop. */
  *#sendBatch(): Steps<boolean> {
    this.#beginBatch();
    let end = this.#fill();
    for (; end === "wait"; end = this.#fill()) yield* this.#turns.pause();
    while (!this.#saver.settle()) yield* this.#turns.pause();
    if (this.#records.length > 0) return yield* this.#endBatch();
    if (end !== "disk") return false;
    const { begun, next } = this.#claims;
    yield* this.#nap(this.#planned.await(begun ? next : this.#planned.find(this.#end)));
    return true;
  }

  /**
   * Puts planned pages into the batch: no generator, for what is done for each page.
   *
   * @returns why it ended: `"none"` when no page is left, `"disk"` when the next must be read first
   */
  #fill(): NextAct | "none" | "disk" {
    const records = this.#records;
    const claims = this.#claims;
    const saver = this.#saver;
    const planned = this.#planned;
    const pageBytes = this.#init.targetPageSize;
    const most = Math.min(this.#batch * pageBytes, this.#limit.batchBytes);
    while (
      records.length + saver.outstanding === 0 ||
      records.byteLength + saver.outstanding * pageBytes < most
    ) {
      const next = saver.prepare();
      if (next !== "save") return next;
      if (!claims.begun) {
        // Compressed pages come out in any order, and a huge page is placed as a whole.
        if (this.#layout.hasHugePages && saver.outstanding > 0) break;
        const page = planned.find(this.#end);
        // One is left in any case: a QEMU does not run without a discard (docs/protocol.md section 4.2).
        if (page < 0 || this.#left === this.#layout.blockOf(page).pagesPerHostPage) return "none";
        if (!planned.has(page)) return "disk";
        this.#claim(page);
        continue;
      }
      if (!planned.has(claims.next)) return "disk";
      saver.save(claims.take());
    }
    return "send";
  }

  /** Claims a planned page, unless the image does not hold it and the destination is told so. */
  #claim(page: number): void {
    const end = page + this.#layout.blockOf(page).pagesPerHostPage;
    const absent = this.#present !== undefined && this.#present.next(page, end) < 0;
    if (absent || !this.#claims.claim(page)) this.#plan.addWarm(0);
    else {
      this.#plan.addWarm(end - page);
      this.#left -= end - page;
      const before = page > 0 && this.#dirty.has(page - 1) ? 1 : 0;
      const behind = end < this.#dirty.length && this.#dirty.has(end) ? 1 : 0;
      this.#runs += before + behind - 1;
    }
    this.#planned.skip();
  }

  #beginBatch(): void {
    this.#records.begin();
    this.#records.openSection(ELEMENT.SECTION_PART, this.#init.sectionId);
  }

  *#endBatch(): Steps<boolean> {
    const records = this.#records;
    this.#planned.advance();
    records.closeSection(this.#init.sectionId);
    records.end();
    if (!(yield* this.#main.send(records.gather))) return false;
    this.#saver.sent();
    const bytes = records.byteLength;
    this.#sent += bytes;
    if (this.#batch < LARGEST_BATCH) this.#batch *= 2;
    this.#state.background.addPages(records.pages, records.zeroPages);
    this.#state.background.addBytes(bytes);
    this.#limit.spend(monotonicNanoseconds(), bytes);
    return true;
  }
}
