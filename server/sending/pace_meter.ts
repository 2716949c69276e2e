/** How fast a link and the destination take a stream that often waits by itself. */

/** Nanoseconds of a window: longer than a burst that a shaper or a switch lets through. */
const WINDOW = 10e6;
/** Windows that are remembered. */
const WINDOWS = 16;

/**
 * Measures a pace: the best window of late, for in the others there was not enough to send. What the kernel says
 * of a connection's delivery rate is of single bursts: 5 GB/s on a link of 1 Gbit/s.
 */
export class PaceMeter {
  readonly #paces = new Float64Array(WINDOWS);
  #at = 0;
  #start = -1;
  #startBytes = 0;

  /** True when a sample would end a window; taking one costs a system call. */
  due(now: number): boolean {
    return this.#start < 0 || now - this.#start >= WINDOW;
  }

  /**
   * Takes a sample, when one is due.
   *
   * @param now monotonic nanoseconds
   * @param bytes all that the destination has taken until now
   */
  sample(now: number, bytes: number): void {
    if (this.#start >= 0) {
      this.#paces[this.#at] = (bytes - this.#startBytes) / (now - this.#start);
      this.#at = (this.#at + 1) % WINDOWS;
    }
    this.#start = now;
    this.#startBytes = bytes;
  }

  /** Bytes a nanosecond; 0 before anything was measured. */
  get pace(): number {
    let most = 0;
    for (const pace of this.#paces) most = Math.max(most, pace);
    return most;
  }
}
