/** Latencies as QEMU counts them: power-of-two buckets of microseconds, in shared memory. */

/** Buckets, as in QEMU 10.1's `postcopy-latency-dist`: bucket N counts [2^N us, 2^(N+1) us). */
export const LATENCY_BUCKETS = 24;

// Layout in float64 slots. A float64 in shared memory is stored whole; one writer, any readers.
const COUNT = 0;
const TOTAL = 1;
const LONGEST = 2;
const FIRST_BUCKET = 3;

/**
 * A latency histogram with one writing thread and any number of readers.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { LatencyHistogram } from "./histogram.ts";
 *
 * const histogram = new LatencyHistogram();
 * histogram.record(150_000); // nanoseconds
 * assertEquals(histogram.mean, 150_000);
 * assertEquals(histogram.buckets()[7], 1); // 128 us to 256 us
 * ```
 */
export class LatencyHistogram {
  /** Bytes of shared memory that a histogram takes. */
  static readonly BYTES: number = (FIRST_BUCKET + LATENCY_BUCKETS) * 8;

  /** The shared memory behind it, to give to another thread's constructor. */
  readonly buffer: SharedArrayBuffer;
  readonly #slots: Float64Array;

  /**
   * @param buffer shared memory of another thread's histogram; without it, new and empty
   * @param offset bytes from its start, a multiple of 8
   */
  constructor(
    buffer: SharedArrayBuffer = new SharedArrayBuffer(LatencyHistogram.BYTES),
    offset = 0,
  ) {
    this.buffer = buffer;
    this.#slots = new Float64Array(buffer, offset, FIRST_BUCKET + LATENCY_BUCKETS);
  }

  /**
   * Counts one latency; below 1 us it falls into the first bucket, above 16 s into the last.
   *
   * @param nanoseconds how long it took
   */
  record(nanoseconds: number): void {
    const slots = this.#slots;
    slots[COUNT]!++;
    slots[TOTAL]! += nanoseconds;
    if (nanoseconds > slots[LONGEST]!) slots[LONGEST] = nanoseconds;
    const microseconds = nanoseconds / 1000;
    // clz32 takes a 32-bit integer: 2^32 us is far beyond the last bucket.
    const bucket = microseconds < 1 ? 0 : 31 - Math.clz32(Math.min(microseconds, 0xffff_ffff));
    slots[FIRST_BUCKET + Math.min(bucket, LATENCY_BUCKETS - 1)]!++;
  }

  /** Latencies counted. */
  get count(): number {
    return this.#slots[COUNT]!;
  }

  /** Mean in nanoseconds; 0 when none was counted. */
  get mean(): number {
    return this.count === 0 ? 0 : this.#slots[TOTAL]! / this.count;
  }

  /** The longest, in nanoseconds. */
  get longest(): number {
    return this.#slots[LONGEST]!;
  }

  /** The counts of the 24 buckets. */
  buckets(): number[] {
    return Array.from(this.#slots.subarray(FIRST_BUCKET));
  }
}
