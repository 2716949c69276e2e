/** Accesses at an even rate. */

/** Nanoseconds of a slice; at lower rates than one access a slice, each access is one. */
const SLICE = 1e6;
/** Nanoseconds of sleep too long that are made up for at most. */
const MOST_LATE = 100e6;

/**
 * Keeps a rate. A thread cannot sleep for 50 us between two accesses: the kernel's timer alone adds as
 * much, and a core that went idle 70 us more. So the accesses of about 1 ms are done in a row, and the
 * thread sleeps once for the rest of the slice. Slices begin at fixed times: one that began late because
 * the sleep took longer does not delay the next. What was lost within a slice, waiting for pages or
 * paused, is not made up for: the guest did not run meanwhile.
 *
 * @example
 * ```ts
 * import { Pace } from "./pace.ts";
 *
 * let now = 0; // a clock that only sleeping moves
 * const pace = new Pace(20_000, () => now, (milliseconds) => now += milliseconds * 1e6);
 * for (let access = 0; access < 20_001; access++) pace.wait();
 * if (Math.round(now / 1e6) !== 1000) throw new Error("not a second");
 * ```
 */
export class Pace {
  readonly #accesses: number;
  readonly #slice: number;
  readonly #now: () => number;
  readonly #sleep: (milliseconds: number) => void;
  #left = 0;
  #began = -1;
  #due = 0;

  /**
   * @param rate accesses a second, above 0
   * @param now the time in nanoseconds
   * @param sleep blocks this thread for so many milliseconds, or for less
   */
  constructor(rate: number, now: () => number, sleep: (milliseconds: number) => void) {
    this.#accesses = Math.max(1, Math.round(rate * SLICE / 1e9));
    this.#slice = this.#accesses * 1e9 / rate;
    this.#now = now;
    this.#sleep = sleep;
  }

  /** Waits until the next access is due. */
  wait(): void {
    // The clock (60 ns) is read once a slice, not at each access.
    if (this.#left-- > 0) return;
    this.#left = this.#accesses - 1;
    let now = this.#now();
    if (this.#began < 0) {
      this.#due = now;
    } else {
      this.#due += Math.max(this.#slice, now - this.#began);
      this.#due = Math.max(this.#due, now - MOST_LATE);
      if (this.#due > now) {
        this.#sleep((this.#due - now) / 1e6);
        now = this.#now();
      }
    }
    this.#began = now;
  }
}
