/** What the threads of one incoming migration share. */

import { LatencyHistogram } from "../../migration/threads/histogram.ts";
import { ThreadLatencies } from "./thread_latencies.ts";

const FLAGS = 64;
const STOP = 0;
const PAUSED = 1;
const MAIN_ENDED = 2;
const PREEMPT_FD = 3;
const GUEST_RUNS = 4;
const LISTENING = 5;
// A cache line of its own: both placing threads add to it.
const RECEIVED = 16;

const COUNTER_OFFSET = FLAGS * 4;
const COUNTERS = 8;
const HISTOGRAM_OFFSET = COUNTER_OFFSET + COUNTERS * 8;
const THREADS_OFFSET = HISTOGRAM_OFFSET + LatencyHistogram.BYTES;

// Slots of float64 counters; each has one writing thread.
const FAULTS = 0;
const REQUESTS = 1;
const PREEMPT_BYTES = 2;
const MAIN_BYTES = 3;
const MAIN_DUPLICATES = 4;
const PREEMPT_DUPLICATES = 5;

/**
 * Flags and counters of one incoming migration, in shared memory. Every thread makes its own from
 * the same buffer.
 */
export class DestinationState {
  /** The shared memory behind it. */
  readonly buffer: SharedArrayBuffer;
  /** From a fault read to its page placed: what QEMU reports as `postcopy-latency`. */
  readonly latency: LatencyHistogram;
  /** The same by faulting thread. */
  readonly threads: ThreadLatencies;
  readonly #flags: Int32Array;
  readonly #counters: Float64Array;

  /** @param buffer shared memory of another thread's state; without it, new */
  constructor(buffer?: SharedArrayBuffer) {
    this.buffer = buffer ?? new SharedArrayBuffer(THREADS_OFFSET + ThreadLatencies.BYTES);
    this.#flags = new Int32Array(this.buffer, 0, FLAGS);
    this.#counters = new Float64Array(this.buffer, COUNTER_OFFSET, COUNTERS);
    this.latency = new LatencyHistogram(this.buffer, HISTOGRAM_OFFSET);
    this.threads = new ThreadLatencies(this.buffer, THREADS_OFFSET);
    if (buffer === undefined) this.#flags[PREEMPT_FD] = -1;
  }

  /** Tells all threads to end; their eventfds must be signalled too. */
  stop(): void {
    Atomics.store(this.#flags, STOP, 1);
  }

  /** True when the threads are to end. */
  get stopped(): boolean {
    return Atomics.load(this.#flags, STOP) === 1;
  }

  /** Records that the source is gone: nothing more is asked for, and faulting threads stay held. */
  pause(): void {
    Atomics.store(this.#flags, PAUSED, 1);
  }

  /** True when the source is gone. */
  get paused(): boolean {
    return Atomics.load(this.#flags, PAUSED) === 1;
  }

  /** Records that pages come on demand from here on (LISTEN). */
  setListening(): void {
    Atomics.store(this.#flags, LISTENING, 1);
  }

  /** True when pages come on demand. */
  get listening(): boolean {
    return Atomics.load(this.#flags, LISTENING) === 1;
  }

  /** Records that the main channel came to its regular end. */
  setMainEnded(): void {
    Atomics.store(this.#flags, MAIN_ENDED, 1);
  }

  /** True when the main channel came to its regular end. */
  get mainEnded(): boolean {
    return Atomics.load(this.#flags, MAIN_ENDED) === 1;
  }

  /** Records that the guest has been started. */
  setGuestRuns(): void {
    Atomics.store(this.#flags, GUEST_RUNS, 1);
  }

  /** True when the guest has been started. */
  get guestRuns(): boolean {
    return Atomics.load(this.#flags, GUEST_RUNS) === 1;
  }

  /** Counts pages that are in place. */
  addReceived(pages: number): void {
    Atomics.add(this.#flags, RECEIVED, pages);
  }

  /** Pages in place, below 2^31. */
  get received(): number {
    return Atomics.load(this.#flags, RECEIVED);
  }

  /** Fault worker: counts faults taken. */
  addFaults(count: number): void {
    this.#counters[FAULTS]! += count;
  }

  /** Fault worker: counts a page asked for. */
  addRequest(): void {
    this.#counters[REQUESTS]!++;
  }

  /** Fault worker: counts bytes of the preempt channel. */
  addPreemptBytes(count: number): void {
    this.#counters[PREEMPT_BYTES]! += count;
  }

  /** Background worker: counts bytes of the main channel. */
  addMainBytes(count: number): void {
    this.#counters[MAIN_BYTES]! += count;
  }

  /** Counts pages that were in place already, by the channel they came on. */
  addDuplicates(channel: "main" | "preempt", count: number): void {
    this.#counters[channel === "main" ? MAIN_DUPLICATES : PREEMPT_DUPLICATES]! += count;
  }

  /** Faults taken. */
  get faults(): number {
    return this.#counters[FAULTS]!;
  }

  /** Pages asked for. */
  get requests(): number {
    return this.#counters[REQUESTS]!;
  }

  /** Bytes received on the preempt channel. */
  get preemptBytes(): number {
    return this.#counters[PREEMPT_BYTES]!;
  }

  /** Bytes received on the main channel. */
  get mainBytes(): number {
    return this.#counters[MAIN_BYTES]!;
  }

  /** Pages that came although they were in place; they were left as they were. */
  get duplicates(): number {
    return this.#counters[MAIN_DUPLICATES]! + this.#counters[PREEMPT_DUPLICATES]!;
  }
}
