/** The memory that the reference model's dispatcher shares with its threads. */

import { Condition } from "./condition.ts";
import { Mutex } from "./mutex.ts";

/** 32-bit words of a cache line: what different threads write lies on different ones. */
const LINE = 16;

/** Words that all share. */
export const Shared = {
  /** The one lock for all: guards every thread's {@linkcode Own.DONE}, and is held while a page is handed over. */
  DONE_MUTEX: 0,
  /** Signalled by each thread that is done. */
  DONE_CONDITION: 1,
  STOPPED: LINE,
  /** Threads that ended. */
  ENDED: LINE + 1,
  /** Threads that could not compress. */
  FAILED: LINE + 2,
  THREADS: 2 * LINE,
} as const;

/** Words of one thread. */
export const Own = {
  /** Guards the request. */
  MUTEX: 0,
  /** Signalled when a request is there, or the thread is to end. */
  CONDITION: 1,
  /** 1 when a request is there: the one that a thread can have. */
  REQUESTED: 3,
  PAGE: 4,
  /** Index in {@linkcode ReferenceMemory.numbers}: a float64, where the page lies in the guest. */
  ADDRESS: 6,
  /** 1 when the thread has nothing to do, as it is at first. */
  DONE: LINE,
  /** Bytes that the page was compressed to; 0 when it is to be sent as it was. */
  BYTES: LINE + 1,
  WORDS: 2 * LINE,
} as const;

/** The locks, requests and results in shared memory; every thread makes its own from the same buffer. */
export class ReferenceMemory {
  readonly buffer: SharedArrayBuffer;
  readonly words: Int32Array;
  readonly numbers: Float64Array;
  readonly doneMutex: Mutex;
  readonly doneCondition: Condition;

  /**
   * @param threads how many compress
   * @param buffer memory of another thread's; without it, new: all threads are done
   */
  constructor(threads: number, buffer?: SharedArrayBuffer) {
    this.buffer = buffer ?? new SharedArrayBuffer((Shared.THREADS + threads * Own.WORDS) * 4);
    const words = this.words = new Int32Array(this.buffer);
    this.numbers = new Float64Array(this.buffer);
    this.doneMutex = new Mutex(words, Shared.DONE_MUTEX);
    this.doneCondition = new Condition(words, Shared.DONE_CONDITION);
    if (buffer !== undefined) return;
    for (let thread = 0; thread < threads; thread++) words[this.base(thread) + Own.DONE] = 1;
  }

  /** Index of a thread's first word. */
  base(thread: number): number {
    return Shared.THREADS + thread * Own.WORDS;
  }

  /** The lock of a thread's request. */
  mutexOf(thread: number): Mutex {
    return new Mutex(this.words, this.base(thread) + Own.MUTEX);
  }

  /** What a thread sleeps on until a request is there. */
  conditionOf(thread: number): Condition {
    return new Condition(this.words, this.base(thread) + Own.CONDITION);
  }
}
