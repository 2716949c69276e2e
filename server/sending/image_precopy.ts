/** An image's pages before its guest runs: all of them, or until the rest is to follow on demand. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { TO_DESTINATION } from "../../channel/role.ts";
import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { Steps, TaskPoll } from "../../migration/threads/task.ts";
import type { PageLocator } from "../../pages/page_locator.ts";
import { pageSaver } from "./compressing_pages.ts";
import { PageRecords } from "./page_records.ts";
import type { PageSaver } from "./page_saver.ts";
import { RateLimit } from "./rate_limit.ts";
import { ReadAhead } from "./read_ahead.ts";
import { batchPages, RoundSender } from "./round_sender.ts";
import type { SenderInit } from "./sender_init.ts";
import { SenderViews } from "./sender_views.ts";
import type { SourceState } from "./source_state.ts";
import { Turns } from "./turns.ts";

/** What it is made from. */
export interface ImagePrecopyInit extends SenderInit {
  /** The `ram` section's id. */
  readonly sectionId: number;
}

/** Nanoseconds after which it looks at what it waits for, though nobody woke it. */
const LONGEST_NAP = 500e6;

/** Sends them once, in their order, on the thread and in the task of the background stream. */
export class ImagePrecopy implements Disposable {
  readonly #state: SourceState;
  readonly #dirty: PageBitmap;
  readonly #locator: PageLocator;
  readonly #ahead: ReadAhead;
  readonly #records: PageRecords;
  readonly #saver: PageSaver;
  readonly #limit: RateLimit;
  readonly #turns: Turns;
  readonly #round: RoundSender;

  /**
   * @param init what the control plane prepared
   * @param poll the task's
   */
  constructor(init: ImagePrecopyInit, poll: TaskPoll) {
    const { state, layout, dirty, locator } = new SenderViews(init);
    this.#state = state;
    this.#dirty = dirty;
    this.#locator = locator;
    this.#ahead = new ReadAhead(locator, dirty.length, init.stallTimeout);
    this.#records = new PageRecords(layout, locator, batchPages(init));
    this.#saver = pageSaver(init, this.#records, state);
    this.#limit = new RateLimit(() => state.maxPostcopyBandwidth);
    this.#turns = new Turns(poll, {
      events: [init.wakeFd, this.#saver.wakeFd],
      stopped: () => state.stopped,
      check: () => locator.check(),
      stallTimeout: init.stallTimeout,
    });
    this.#round = new RoundSender({
      sectionId: init.sectionId,
      state,
      dirty,
      pages: {
        atHand: (page) => this.#ahead.has(page),
        take: (page) => dirty.take(page),
      },
      records: this.#records,
      saver: this.#saver,
      main: this.#turns.sender(init.main, TO_DESTINATION.MAIN),
      turns: this.#turns,
      count: () => {},
    });
  }

  /**
   * Sends every page and the end of the memory, or until the rest is wanted on demand, or it is told to stop.
   *
   * @returns whether all is sent
   * @throws {MigrationError} when the destination goes away or takes nothing, or `IMAGE_CHANGED`,
   * `IMAGE_UNREADABLE`
   */
  *run(): Steps<boolean> {
    try {
      const all = yield* this.#send();
      if (!(yield* this.#round.settle()) || this.#state.stopped || !all) return false;
      this.#locator.check();
      return yield* this.#round.finish();
    } catch (error) {
      throw this.#locator.reasonOf(error);
    }
  }

  /** Waits until the rest is to be streamed, or it is told to stop. */
  *awaitStream(): Steps {
    while (!this.#state.streams && !this.#state.stopped) yield* this.#turns.nap(LONGEST_NAP);
  }

  /** Frees its buffers. */
  [Symbol.dispose](): void {
    this.#records.close();
  }

  /** Returns whether no page is left. */
  *#send(): Steps<boolean> {
    const round = this.#round;
    while (!this.#state.stopped && !this.#state.postcopyWanted) {
      const delay = this.#limit.delay(monotonicNanoseconds());
      if (delay > 0) {
        yield* this.#turns.nap(Math.min(delay, LONGEST_NAP));
        this.#ahead.forget();
        continue;
      }
      const before = round.bytes;
      const end = yield* round.send(this.#limit.batchBytes);
      this.#limit.spend(monotonicNanoseconds(), round.bytes - before);
      this.#ahead.advance(round.cursor);
      if (end === "disk") {
        yield* this.#turns.nap(this.#ahead.await(this.#dirty.next(round.cursor)));
      } else if (end !== "more") return end === "end";
      else yield* this.#turns.give();
    }
    return false;
  }
}
