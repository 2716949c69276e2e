/** Keeping the background stream below a bandwidth. */

/** Nanoseconds of the bandwidth that may be caught up on. */
const LONGEST_OVERSLEEP = 10e6;

/**
 * Spreads what is sent over time; the sleeping is the caller's, who looks again now and then: the bandwidth may
 * be changed meanwhile.
 */
export class RateLimit {
  readonly #bandwidth: () => number;
  #bytesPerNanosecond = 0;
  #free = 0;

  /** @param bandwidth tells the bandwidth, in bytes a second; 0 for no limit. It is asked for each batch */
  constructor(bandwidth: () => number) {
    this.#bandwidth = bandwidth;
    this.#bytesPerNanosecond = bandwidth() / 1e9;
  }

  /** Bytes that a batch should not exceed, so that the stream stays even: 50 ms of the bandwidth. */
  get batchBytes(): number {
    return this.#bytesPerNanosecond === 0 ? Infinity : this.#bytesPerNanosecond * 50e6;
  }

  /**
   * Returns how long to wait before the next batch, in nanoseconds; 0 or less for not at all.
   *
   * @param now monotonic nanoseconds
   */
  delay(now: number): number {
    const rate = this.#bandwidth() / 1e9;
    if (rate !== this.#bytesPerNanosecond) this.#change(rate, now);
    return this.#free - now;
  }

  /**
   * Accounts for a batch.
   *
   * @param now monotonic nanoseconds when it was sent
   * @param bytes its size
   */
  spend(now: number, bytes: number): void {
    if (this.#bytesPerNanosecond === 0) return;
    // A sleep lasts longer than it was asked to: what it cost is made up for. More is not saved up, a
    // burst after a pause would be what the limit forbids.
    this.#free = Math.max(this.#free, now - LONGEST_OVERSLEEP) + bytes / this.#bytesPerNanosecond;
  }

  /** What was sent already is waited for as the new bandwidth has it. */
  #change(rate: number, now: number): void {
    const owed = Math.max(0, this.#free - now) * this.#bytesPerNanosecond;
    this.#free = rate === 0 ? 0 : now + owed / rate;
    this.#bytesPerNanosecond = rate;
  }
}
