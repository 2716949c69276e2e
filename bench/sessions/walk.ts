/** Which page of which session is touched when: one walk over all sessions, shared by several processes. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { PollSet } from "../../ffi/poll.ts";

/** Bytes of a page. */
export const PAGE_BYTES = 4096;

/** Guests are this large at least. */
const SMALLEST_GUEST = 4 * 2 ** 20;
/** A prime that divides no number of pages of a guest: pages are touched all over its memory, each once. */
const STRIDE = 7919;

/**
 * Touches one after the other at even distances, each of the next session. The processes that hold the
 * sessions follow the same walk by the clock of their host, so that the rate is the same for any number of
 * sessions and processes.
 */
export interface Walk {
  /** Number of the first touch: the touches of all walks before it. */
  readonly first: number;
  /** Touches. */
  readonly count: number;
  /** When the first is due, monotonic nanoseconds. */
  readonly start: number;
  /** Nanoseconds from one to the next. */
  readonly interval: number;
}

/** Which sessions of a walk a process holds: every so many of them. */
export interface Share {
  /** Sessions of all processes. */
  readonly sessions: number;
  /** Number of the first session. */
  readonly process: number;
  /** Processes. */
  readonly processes: number;
}

/** Returns how many sessions a process holds. */
export function sessionsOf({ sessions, process, processes }: Share): number {
  return Math.ceil((sessions - process) / processes);
}

/** Returns whose turn it is: the place of the session among those of this process, or -1 for another's. */
export function sessionAt(touch: number, { sessions, process, processes }: Share): number {
  const session = touch % sessions;
  return session % processes === process ? Math.floor(session / processes) : -1;
}

/**
 * Returns the page of its session that a touch is of. It is never the first one, which the background stream
 * sends before it waits.
 *
 * @param pages of the session's guest
 */
export function pageAt(touch: number, sessions: number, pages: number): number {
  return (Math.floor(touch / sessions) + 1) * STRIDE % pages;
}

/**
 * Returns how large a guest must be so that no page is touched twice.
 *
 * @param touches of all sessions together
 * @returns bytes
 */
export function guestSize(touches: number, sessions: number): number {
  const pages = Math.ceil(touches / sessions) + 1;
  return Math.ceil(pages * PAGE_BYTES / SMALLEST_GUEST) * SMALLEST_GUEST;
}

/** Follows walks, on a thread that does nothing else. */
export class Walker {
  readonly #poll = new PollSet(1);

  /**
   * Does what is due, when it is due; what comes late is done at once.
   *
   * @param mine whether this thread does a touch
   * @param act does it
   * @returns how long each took that was done, nanoseconds
   */
  follow(
    walk: Walk,
    mine: (touch: number) => boolean,
    act: (touch: number) => number,
  ): Float64Array<ArrayBuffer> {
    const samples = new Float64Array(walk.count);
    let taken = 0;
    for (let step = 0; step < walk.count; step++) {
      const touch = walk.first + step;
      if (!mine(touch)) continue;
      const due = walk.start + step * walk.interval;
      for (let left; (left = due - monotonicNanoseconds()) > 0;) this.#poll.waitNanoseconds(left);
      samples[taken++] = act(touch);
    }
    return samples.slice(0, taken);
  }
}
