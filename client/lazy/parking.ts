/** When to try again what the kernel refused, because the map of the memory was changing. */

import { yieldProcessor } from "../../ffi/scheduling.ts";

/**
 * Tries of what the kernel refused behind each removal that was read, other tasks' turns between. Nothing tells
 * when the thread that removes has gone on, 5 to 70 us later, and one that removes without an end closes the
 * gap again 10 us after. The processor is yielded before each: without, that thread waits for this one where
 * they share it (2 to 5 ms). 4,000 random deeds under an endless balloon take 0.3 s so, and 4 s with sleeps alone.
 */
const YIELDING_TRIES = 16;
/** Nanoseconds of sleep before the tries after those, at first and at most; doubled each time. */
const SHORTEST_PARK = 50e3;
const LONGEST_PARK = 1e6;

/** The tries of one userfaultfd. */
export class Parking {
  #tries = 0;
  #park = 0;

  /**
   * Everything was refused until the thread that changes the map has gone on.
   *
   * @returns nanoseconds to sleep before the next try; 0: none, behind the turns of others
   */
  refused(): number {
    if (this.#tries++ < YIELDING_TRIES) {
      yieldProcessor();
      return 0;
    }
    return this.#park = Math.min(LONGEST_PARK, Math.max(SHORTEST_PARK, this.#park * 2));
  }

  /** The kernel took a page, or a change of the map was read. */
  refresh(): void {
    this.#tries = 0;
    this.#park = 0;
  }
}
