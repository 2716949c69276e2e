/** Fault latencies of each faulting thread, in shared memory. */

/** Threads told apart; the faults of any more are counted in the whole only. */
const MAX_THREADS = 512;

/** Mean fault latency of a thread. */
export interface ThreadLatency {
  /** The thread's number as the kernel gives it; 0 for all threads of a kernel without THREAD_ID. */
  readonly threadId: number;
  /** Faults that waited for a page. */
  readonly count: number;
  /** Nanoseconds. */
  readonly mean: number;
}

/** Sums by thread slot; the fault server alone writes, any thread may read. */
export class ThreadLatencies {
  /** Bytes of shared memory. */
  static readonly BYTES: number = MAX_THREADS * 3 * 8;

  readonly #ids: Float64Array;
  readonly #counts: Float64Array;
  readonly #totals: Float64Array;

  /**
   * @param buffer shared memory
   * @param offset bytes from its start, a multiple of 8
   */
  constructor(buffer: SharedArrayBuffer, offset: number) {
    this.#ids = new Float64Array(buffer, offset, MAX_THREADS);
    this.#counts = new Float64Array(buffer, offset + MAX_THREADS * 8, MAX_THREADS);
    this.#totals = new Float64Array(buffer, offset + MAX_THREADS * 16, MAX_THREADS);
  }

  /**
   * Adds a latency.
   *
   * @param slot the thread's place, given out from 0 by the fault server
   * @param threadId the thread's number
   * @param nanoseconds how long it waited
   */
  record(slot: number, threadId: number, nanoseconds: number): void {
    if (slot >= MAX_THREADS) return;
    this.#ids[slot] = threadId;
    this.#totals[slot]! += nanoseconds;
    this.#counts[slot]!++;
  }

  /** The threads that waited, in the order of their first fault. */
  list(): ThreadLatency[] {
    const list: ThreadLatency[] = [];
    for (let slot = 0; slot < MAX_THREADS; slot++) {
      const count = this.#counts[slot]!;
      if (count === 0) continue;
      list.push({ threadId: this.#ids[slot]!, count, mean: this.#totals[slot]! / count });
    }
    return list;
  }
}
