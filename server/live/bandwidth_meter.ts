/** How fast the destination takes what it is sent. */

/** Nanoseconds of a window; QEMU measures over as long. */
const WINDOW = 100e6;
/** How much the last window counts against those before it. */
const WEIGHT = 0.5;

/** Measures a bandwidth over windows of 100 ms. */
export class BandwidthMeter {
  #start = -1;
  #startBytes = 0;
  #average = 0;

  /** True when a new sample would end a window; taking one may cost a system call. */
  due(now: number): boolean {
    return this.#start < 0 || now - this.#start >= WINDOW;
  }

  /**
   * Takes a sample.
   *
   * @param now monotonic nanoseconds
   * @param bytes all that the destination has taken until now
   * @param last true to count a window that is not over yet, when there was none before
   */
  sample(now: number, bytes: number, last = false): void {
    if (this.#start >= 0) {
      const elapsed = now - this.#start;
      const short = elapsed < WINDOW;
      if (elapsed <= 0 || short && !(last && this.#average === 0)) return;
      const rate = (bytes - this.#startBytes) / elapsed * 1e9;
      this.#average = this.#average === 0 ? rate : this.#average + (rate - this.#average) * WEIGHT;
      if (short) return; // the window goes on
    }
    this.#start = now;
    this.#startBytes = bytes;
  }

  /** Bytes a second; 0 before anything was measured. */
  get bytesPerSecond(): number {
    return this.#average;
  }
}
