/** The mode preempt-full: requested pages are sent here, at once, on the preempt channel. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { PollEvents } from "../../ffi/poll.ts";
import { isLost, MigrationError } from "../../migration/migration_error.ts";
import type { TaskPoll } from "../../migration/threads/task.ts";
import { stalled, TO_DESTINATION } from "../../channel/role.ts";
import { SendingEnd } from "../../channel/sending_end.ts";
import type { PageLocator } from "../../pages/page_locator.ts";
import { HostPageClaims } from "./host_page_claims.ts";
import { PageRecords } from "./page_records.ts";
import type { BackgroundRequests, Progress, RequestedPages } from "./requested_pages.ts";
import type { RequestQueue } from "./request_queue.ts";
import { preemptChannel, type SenderInit } from "./sender_init.ts";
import type { SenderViews } from "./sender_views.ts";
import type { SourceState } from "./source_state.ts";
import { StoredPages } from "./stored_pages.ts";

/** Pages of one answer: a 2 MiB host page goes out in eight. */
const ANSWER_PAGES = 64;
/** Pages that a step looks at or sends, so that other migrations' requests wait for no more than these. */
const STEP_PAGES = 128;

/**
 * Claims each requested page and sends it: no queue behind other threads, no lock, no rate limit between
 * the request and the page. While the channel has no room, or a page comes from a disk, what is claimed is
 * kept as it is, and sent before anything else.
 */
export class AnsweredRequests implements RequestedPages {
  readonly queue: RequestQueue;
  readonly #init: SenderInit;
  readonly #poll: TaskPoll;
  readonly #slot: number;
  readonly #state: SourceState;
  readonly #records: PageRecords;
  readonly #locator: PageLocator;
  readonly #claims: HostPageClaims;
  readonly #stored: StoredPages;
  readonly #background: BackgroundRequests;
  #channel: SendingEnd | undefined;
  /** All was sent that is sent unasked. */
  #ended = false;
  /** The batch is gathered and not all sent. */
  #unsent = false;
  #waiting = false;
  #stalledAt = 0;
  #left = 0;

  /**
   * @param queue what was asked for
   * @param init what the control plane prepared
   * @param views what was made of it
   * @param background where it is told of huge pages that others have claimed
   * @param poll the task's
   * @param slot of the poll, where the channel is while there is no room
   */
  constructor(
    queue: RequestQueue,
    init: SenderInit,
    { state, layout, dirty, locator }: SenderViews,
    background: BackgroundRequests,
    poll: TaskPoll,
    slot: number,
  ) {
    this.queue = queue;
    this.#init = init;
    this.#poll = poll;
    this.#slot = slot;
    this.#state = state;
    this.#records = new PageRecords(layout, locator, ANSWER_PAGES);
    this.#locator = locator;
    this.#claims = new HostPageClaims(layout, dirty);
    this.#stored = new StoredPages(locator, init.stallTimeout);
    this.#background = background;
  }

  get idle(): boolean {
    return this.queue.empty && !this.#unsent;
  }

  step(now: number, receivedAt: number): Progress {
    this.#left = STEP_PAGES;
    while (true) {
      if (this.#unsent && !this.#send(now, receivedAt)) return "waiting";
      if (this.queue.empty) return "done";
      if (this.#left <= 0) return "more";
      if (!this.#gather() && !this.#unsent) return "waiting";
    }
  }

  /** A QEMU 7.2's thread for the channel waits for an EOS record; every page claimed here was sent before it. */
  end(): void {
    this.#ended = true;
    // Precopy alone: it was never opened.
    if (!this.#state.endsPreempt || this.#state.preemptFd < 0) return;
    this.#records.begin();
    this.#records.endRecords();
    this.#records.end();
    this.#unsent = true;
  }

  [Symbol.dispose](): void {
    this.#records.close();
  }

  /**
   * Claims pages of the oldest request for a batch; those that were not sent yet: the others are on their way.
   *
   * @returns false when the next page that is claimed must come from a disk
   */
  #gather(): boolean {
    const { queue } = this;
    const stored = this.#stored;
    const records = this.#records;
    const claims = this.#claims;
    const { end } = queue;
    let { page } = queue;
    let atHand = true;
    records.begin();
    while (!records.full && this.#left > 0) {
      this.#left--;
      if (!claims.begun) {
        if (page === end) break;
        const claimed = claims.claim(page);
        if (!claimed) this.#background.hasten(page);
        page = claims.behind;
        if (!claimed) continue;
        stored.forget();
      }
      atHand = stored.has(claims.next, claims.end);
      if (!atHand) {
        this.#poll.sleep(stored.await(claims.next, claims.end));
        break;
      }
      records.add(claims.take());
    }
    queue.page = page;
    records.end();
    this.#unsent = records.length > 0;
    if (!this.#unsent) this.#dropAnswered();
    return atHand;
  }

  /** Sends what was gathered; false when there is no room. */
  #send(now: number, receivedAt: number): boolean {
    this.#channel ??= this.#open();
    this.#locator.check();
    if (!this.#trySend(this.#channel)) {
      this.#awaitRoom(this.#channel, now);
      return false;
    }
    if (this.#waiting) this.#poll.watch(this.#slot, -1, 0);
    this.#waiting = false;
    this.#unsent = false;
    const records = this.#records;
    const counters = this.#state.urgent;
    counters.addPages(records.pages, records.zeroPages);
    counters.addBytes(records.byteLength);
    if (records.length === 0) return true; // the end
    if (!this.#claims.begun) this.#state.service.record(monotonicNanoseconds() - receivedAt);
    this.#dropAnswered();
    return true;
  }

  /** A destination that has all that it waits for may close the channel before it says so. */
  #trySend(channel: SendingEnd): boolean {
    try {
      return channel.trySend(this.#records.gather);
    } catch (error) {
      if (this.#ended && isLost(error)) return true;
      throw error;
    }
  }

  #dropAnswered(): void {
    const { queue } = this;
    if (queue.page < queue.end || this.#claims.begun) return;
    this.#state.setLocality(queue.end - 1);
    queue.drop();
  }

  #awaitRoom({ fd, role }: SendingEnd, now: number): void {
    const { stallTimeout } = this.#init;
    if (!this.#waiting || this.#poll.ready(this.#slot) !== 0) {
      this.#waiting = true;
      this.#poll.watch(this.#slot, fd, PollEvents.OUT);
      this.#stalledAt = now + stallTimeout * 1e6;
    } else if (now >= this.#stalledAt) {
      throw stalled(role, stallTimeout);
    }
    this.#poll.sleep(this.#stalledAt - now);
  }

  #open(): SendingEnd {
    const fd = this.#state.preemptFd;
    if (fd < 0) {
      throw new MigrationError(
        "BAD_PEER",
        "Destination asked for a page before the preempt channel was open",
      );
    }
    return new SendingEnd(preemptChannel(this.#init, fd), TO_DESTINATION.PREEMPT);
  }
}
