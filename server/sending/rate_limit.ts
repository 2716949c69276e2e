/** Keeping the background stream below a bandwidth. */

/** Nanoseconds of the bandwidth that may be caught up on. */
const LONGEST_OVERSLEEP = 10e6;

/** Spreads what is sent over time; the sleeping is the caller's. */
export class RateLimit {
  readonly #bytesPerNanosecond: number;
  #free = 0;

  /** @param bytesPerSecond the bandwidth; 0 for no limit */
  constructor(bytesPerSecond: number) {
    this.#bytesPerNanosecond = bytesPerSecond / 1e9;
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
}
