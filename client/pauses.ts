/** When a destination is paused, and goes on. */

/** What may be heard of a break, in the order in which it happens. */
const STEP = { PAUSED: 0, RECOVERING: 1, RECOVERED: 2 } as const;
const STEPS = 3;

/**
 * Orders what two tasks tell of breaks: one says that the connection broke, the other that it was replaced,
 * and the first word may come last. Only the latest counts.
 */
export class Pauses {
  #latest = -1;
  #reason: Error | undefined;
  #reasonOf = -1;
  #count = 0;
  #recoveries = 0;

  /** Why it is paused, until a source has resumed. */
  get reason(): Error | undefined {
    return this.#reason;
  }

  /** How often it was paused. */
  get count(): number {
    return this.#count;
  }

  /** How often a source has resumed. */
  get recoveries(): number {
    return this.#recoveries;
  }

  /** The connection broke, for the `breaks`th time; returns whether that is the latest news. */
  paused(breaks: number, reason: Error): boolean {
    this.#count = Math.max(this.#count, breaks);
    const latest = this.#isLatest(breaks, STEP.PAUSED);
    if (latest || (this.#reasonOf < breaks && this.#latest < breaks * STEPS + STEP.RECOVERED)) {
      this.#reason = reason;
      this.#reasonOf = breaks;
    }
    return latest;
  }

  /** A source has come again after that break. */
  recovering(breaks: number): boolean {
    return this.#isLatest(breaks, STEP.RECOVERING);
  }

  /** It has resumed. */
  recovered(breaks: number): boolean {
    this.#recoveries++;
    const latest = this.#isLatest(breaks, STEP.RECOVERED);
    if (latest) this.#reason = undefined;
    return latest;
  }

  #isLatest(breaks: number, step: number): boolean {
    const news = breaks * STEPS + step;
    if (news <= this.#latest) return false;
    this.#latest = news;
    return true;
  }
}
