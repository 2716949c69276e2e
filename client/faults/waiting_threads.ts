/** Which threads wait for which page, and since when. */

import type { DestinationState } from "../placing/destination_state.ts";

/**
 * Threads that wait on a missing page. A thread waits on one page at a time, so each has a slot;
 * slots are made when a thread faults for the first time and never again allocated for.
 */
export class WaitingThreads {
  readonly #state: DestinationState;
  readonly #slots = new Map<number, number>();
  readonly #threadIds: number[] = [];
  readonly #pages: number[] = [];
  readonly #since: number[] = [];
  #waiting = 0;

  /** @param state where latencies are counted */
  constructor(state: DestinationState) {
    this.#state = state;
  }

  /**
   * A thread waits from now on. One that waits already for the same page has only been woken and
   * faulted again: its time goes on. One that waited for another has got that: it is faster here than
   * the word that its page came on the main channel.
   *
   * @param now monotonic nanoseconds
   */
  add(threadId: number, page: number, now: number): void {
    let slot = this.#slots.get(threadId);
    if (slot === undefined) {
      slot = this.#threadIds.length;
      this.#slots.set(threadId, slot);
      this.#threadIds.push(threadId);
      this.#pages.push(-1);
      this.#since.push(0);
    }
    if (this.#pages[slot] === page) return;
    if (this.#pages[slot] !== -1) this.#end(slot, now);
    this.#waiting++;
    this.#pages[slot] = page;
    this.#since[slot] = now;
  }

  /**
   * A page is in place: counts the latency of whoever waited for it.
   *
   * @param now monotonic nanoseconds
   */
  placed(page: number, now: number): void {
    if (this.#waiting === 0) return;
    const pages = this.#pages;
    // One slot a thread of the guest: a scan of tens of numbers.
    for (let slot = 0; slot < pages.length; slot++) {
      if (pages[slot] === page) this.#end(slot, now);
    }
  }

  #end(slot: number, now: number): void {
    this.#pages[slot] = -1;
    this.#waiting--;
    const latency = now - this.#since[slot]!;
    this.#state.latency.record(latency);
    this.#state.threads.record(slot, this.#threadIds[slot]!, latency);
  }
}
