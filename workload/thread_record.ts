/** What one thread of a workload counts, in memory that it shares with its main thread. */

import { LatencyHistogram } from "../migration/threads/histogram.ts";
import type { WrongByte } from "./written_page.ts";

// Layout in float64 slots.
const ACCESSES = 0;
const FAILED = 1;
const PAGE = 2;
const OFFSET = 3;
const EXPECTED = 4;
const FOUND = 5;
const SLOTS = 6;

/** The shared memory of a {@linkcode ThreadRecord}. */
export interface ThreadRecordBuffers {
  /** Counters. */
  readonly counters: SharedArrayBuffer;
  /** Of a {@linkcode LatencyHistogram}. */
  readonly histogram: SharedArrayBuffer;
  /** Latencies in nanoseconds, as float64. */
  readonly samples: SharedArrayBuffer;
}

/** What one thread counted: that thread writes, any thread reads. */
export class ThreadRecord {
  /** The shared memory behind it, to give to another thread's constructor. */
  readonly buffers: ThreadRecordBuffers;
  /** First touches that waited for their page. */
  readonly histogram: LatencyHistogram;
  readonly #counters: Float64Array;
  readonly #samples: Float64Array;

  /** @param buffers another thread's, or how many latencies new memory has room for */
  constructor(buffers: ThreadRecordBuffers | number) {
    this.buffers = typeof buffers === "number"
      ? {
        counters: new SharedArrayBuffer(SLOTS * 8),
        histogram: new SharedArrayBuffer(LatencyHistogram.BYTES),
        samples: new SharedArrayBuffer(buffers * 8),
      }
      : buffers;
    this.histogram = new LatencyHistogram(this.buffers.histogram);
    this.#counters = new Float64Array(this.buffers.counters);
    this.#samples = new Float64Array(this.buffers.samples);
  }

  /** Accesses until now. */
  get accesses(): number {
    return this.#counters[ACCESSES]!;
  }

  /** Counts an access. */
  countAccess(): void {
    this.#counters[ACCESSES]!++;
  }

  /** Records how long a first touch waited; beyond the room for samples, in the histogram alone. */
  recordWait(nanoseconds: number): void {
    const index = this.histogram.count;
    if (index < this.#samples.length) this.#samples[index] = nanoseconds;
    this.histogram.record(nanoseconds);
  }

  /** The latencies kept one by one, in nanoseconds, in the order they came. */
  get samples(): Float64Array {
    return this.#samples.subarray(0, Math.min(this.histogram.count, this.#samples.length));
  }

  /** Records the wrong byte that ended this thread. */
  fail({ page, offset, expected, found }: WrongByte): void {
    const counters = this.#counters;
    counters[PAGE] = page;
    counters[OFFSET] = offset;
    counters[EXPECTED] = expected;
    counters[FOUND] = found;
    counters[FAILED] = 1; // last: readers look at it first
  }

  /** The wrong byte that ended this thread, if one did. */
  get failure(): WrongByte | undefined {
    const counters = this.#counters;
    if (counters[FAILED] === 0) return undefined;
    return {
      page: counters[PAGE]!,
      offset: counters[OFFSET]!,
      expected: counters[EXPECTED]!,
      found: counters[FOUND]!,
    };
  }
}
