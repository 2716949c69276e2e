/** A worker's end of a session's rings, as a task on a thread that has those of many sessions. */

import { clearEvent } from "../../ffi/eventfd.ts";
import { PollEvents } from "../../ffi/poll.ts";
import type { Task, TaskPoll } from "./task.ts";
import type { ThreadTime } from "./thread_time.ts";
import type { WorkRing } from "./work_ring.ts";

/** Requests of one turn, a ring's default capacity: then those of other sessions are worked on. */
export const REQUESTS_A_TURN = 4;

const WAKE_SLOT = 0;

/** Does what one request asks for, and leaves the result in its words. */
export interface RingWork {
  /**
   * @param index the slot, counted from the ring's first
   * @param at index of the slot's first word
   */
  (index: number, at: number): void;
}

/**
 * Works on the requests of one ring until the rings are stopped, a few in each turn. It is there for the
 * submitter once it is made; however it ends, the ring is buried, so that nobody waits for what it left.
 */
export class RingTask implements Task {
  readonly #ring: WorkRing;
  readonly #poll: TaskPoll;
  readonly #time: ThreadTime;
  readonly #work: RingWork;
  readonly #owned: Disposable;
  /** There was nothing to do in the turn before. */
  #idle = false;

  /**
   * @param ring one whose eventfd is set
   * @param poll the task's
   * @param time the thread's
   * @param work called for each request
   * @param owned what is disposed of at the end
   */
  constructor(
    ring: WorkRing,
    poll: TaskPoll,
    time: ThreadTime,
    work: RingWork,
    owned: Disposable,
  ) {
    this.#ring = ring;
    this.#poll = poll;
    this.#time = time;
    this.#work = work;
    this.#owned = owned;
    poll.watch(WAKE_SLOT, ring.wakeFd, PollEvents.IN);
    ring.enter();
  }

  /** Works on what there is, up to {@linkcode REQUESTS_A_TURN} requests. */
  step(): boolean {
    const ring = this.#ring;
    if (this.#poll.ready(WAKE_SLOT) !== 0) clearEvent(ring.wakeFd);
    for (let count = 0; count < REQUESTS_A_TURN; count++) {
      if (ring.stopped) return true;
      const slot = ring.look();
      if (slot < 0) return this.#rest(count > 0);
      if (count === 0) this.#time.begin(ring);
      this.#work(slot - ring.firstSlot, ring.at(slot));
      ring.finish();
    }
    this.#idle = false;
    this.#poll.again();
    return false;
  }

  [Symbol.dispose](): void {
    this.#ring.bury();
    this.#time.end(this.#ring);
    this.#owned[Symbol.dispose]();
  }

  /** Waits for a request, but for one turn longer awake: to be woken costs both sides a system call. */
  #rest(worked: boolean): boolean {
    if (worked || !this.#idle) {
      this.#idle = !worked;
      this.#poll.again();
      return false;
    }
    this.#time.end(this.#ring);
    this.#idle = false;
    if (!this.#ring.requestWake()) this.#poll.again();
    return false;
  }
}
