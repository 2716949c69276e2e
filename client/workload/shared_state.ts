/** What a workload's threads and its main thread share, outside the memory that migrates. */

import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { LatencyHistogram } from "../../migration/threads/histogram.ts";
import type { WrongByte } from "./written_page.ts";

/** Whether threads run. */
export const Phase = { READY: 0, RUNNING: 1, STOPPED: 2 } as const;

const PHASE = 0;
const TOUCHED = 1;
const FIRST_THREAD = 2;

/** Starts and stops all threads, and counts what they touched together. */
export class Control {
  /** The shared memory behind it, to give to another thread's constructor. */
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  /** @param from another thread's memory, or how many threads there are, for new memory */
  constructor(from: SharedArrayBuffer | number) {
    this.buffer = typeof from === "number"
      ? new SharedArrayBuffer((FIRST_THREAD + from) * 4)
      : from;
    this.#words = new Int32Array(this.buffer);
  }

  /** Lets all threads run, unless they were stopped. */
  start(): void {
    Atomics.compareExchange(this.#words, PHASE, Phase.READY, Phase.RUNNING);
    Atomics.notify(this.#words, PHASE);
  }

  /** Stops all threads, each before its next access. */
  stop(): void {
    Atomics.store(this.#words, PHASE, Phase.STOPPED);
    Atomics.notify(this.#words, PHASE);
  }

  /** True once stopped. */
  get stopped(): boolean {
    return Atomics.load(this.#words, PHASE) === Phase.STOPPED;
  }

  /** Blocks this thread until it may run or was stopped. */
  waitForStart(): void {
    Atomics.wait(this.#words, PHASE, Phase.READY);
  }

  /** Blocks this running thread for a time, or until it is stopped. */
  pause(milliseconds: number): void {
    Atomics.wait(this.#words, PHASE, Phase.RUNNING, milliseconds);
  }

  /**
   * A thread says that it touches memory which may be missing: until it takes that back it does
   * nothing else, and once stopped it touches no more.
   */
  setTouching(thread: number, touching: boolean): void {
    Atomics.store(this.#words, FIRST_THREAD + thread, touching ? 1 : 0);
  }

  /** Reports whether a thread is touching memory which may be missing. */
  isTouching(thread: number): boolean {
    return Atomics.load(this.#words, FIRST_THREAD + thread) !== 0;
  }

  /** Counts a page that no thread had touched before. */
  countTouched(): void {
    Atomics.add(this.#words, TOUCHED, 1);
  }

  /** Pages that any thread touched. */
  get touched(): number {
    return Atomics.load(this.#words, TOUCHED);
  }
}

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

/** The shared memory of {@linkcode SharedPages}. */
export interface SharedPagesBuffers {
  /** Of a {@linkcode PageBitmap}. */
  readonly touched: SharedArrayBuffer;
  /** An int32 for each page. */
  readonly writes: SharedArrayBuffer;
}

/** What is known of each page: whether it was touched, and how often it was written. */
export class SharedPages {
  /** The shared memory behind it, to give to another thread's constructor. */
  readonly buffers: SharedPagesBuffers;
  /** Pages that some thread touched. */
  readonly touched: PageBitmap;
  /** Writes to each page; only the thread that owns a page changes its count. */
  readonly writes: Int32Array;

  /**
   * @param pages how many pages there are
   * @param buffers another thread's; without it, new memory
   */
  constructor(pages: number, buffers?: SharedPagesBuffers) {
    const bits = Math.ceil(pages / 32) * 32;
    this.touched = new PageBitmap(bits, buffers?.touched);
    this.writes = new Int32Array(buffers?.writes ?? new SharedArrayBuffer(pages * 4));
    this.buffers = {
      touched: this.touched.buffer,
      writes: this.writes.buffer as SharedArrayBuffer,
    };
  }
}
