/** What the threads of one incoming migration share. */

import { LatencyHistogram } from "../../migration/threads/histogram.ts";
import { SharedLayout } from "../../migration/threads/shared_layout.ts";
import { ThreadLatencies } from "./thread_latencies.ts";

const layout = new SharedLayout();
const Flag = layout.words(
  "STOP",
  "PAUSED",
  "MAIN_ENDED",
  "GUEST_STARTED",
  "GUEST_RUNS",
  "LISTENING",
  "OVER",
  "TASK_LOST",
  "BREAKS",
  "ABSENT",
);
// A group of its own: both placing threads add to it.
const { RECEIVED } = layout.words("RECEIVED");
// Each has one writing thread.
const Counter = layout.numbers(
  "FAULTS",
  "REQUESTS",
  "PREEMPT_BYTES",
  "MAIN_BYTES",
  "MAIN_DUPLICATES",
  "PREEMPT_DUPLICATES",
);
const LATENCY = layout.room(LatencyHistogram.BYTES);
const THREADS = layout.room(ThreadLatencies.BYTES);

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
    this.buffer = buffer ?? new SharedArrayBuffer(layout.bytes);
    this.#flags = new Int32Array(this.buffer);
    this.#counters = new Float64Array(this.buffer);
    this.latency = new LatencyHistogram(this.buffer, LATENCY);
    this.threads = new ThreadLatencies(this.buffer, THREADS);
  }

  /** Tells all threads to end; their eventfds must be signalled too. */
  stop(): void {
    Atomics.store(this.#flags, Flag.STOP, 1);
  }

  /** True when the threads are to end. */
  get stopped(): boolean {
    return Atomics.load(this.#flags, Flag.STOP) === 1;
  }

  /**
   * Records that the source is gone: nothing more is asked for, and faulting threads stay held.
   *
   * @returns which break that is, counted from 1; 0 when it was known
   */
  pause(): number {
    if (Atomics.exchange(this.#flags, Flag.PAUSED, 1) === 1) return 0;
    return Atomics.add(this.#flags, Flag.BREAKS, 1) + 1;
  }

  /** Records that a source is there again. */
  recover(): void {
    Atomics.store(this.#flags, Flag.MAIN_ENDED, 0);
    Atomics.store(this.#flags, Flag.PAUSED, 0);
  }

  /** Counts another break although none is repaired; returns which it is. */
  breakAgain(): number {
    return Atomics.add(this.#flags, Flag.BREAKS, 1) + 1;
  }

  /** Records that a task ended in the midst of what it did. */
  setTaskLost(): void {
    Atomics.store(this.#flags, Flag.TASK_LOST, 1);
  }

  /** True when a task has ended in the midst of what it did. */
  get taskLost(): boolean {
    return Atomics.load(this.#flags, Flag.TASK_LOST) === 1;
  }

  /** How often the source went. */
  get breaks(): number {
    return Atomics.load(this.#flags, Flag.BREAKS);
  }

  /** True when the source is gone. */
  get paused(): boolean {
    return Atomics.load(this.#flags, Flag.PAUSED) === 1;
  }

  /** Records that pages come on demand from here on (LISTEN). */
  setListening(): void {
    Atomics.store(this.#flags, Flag.LISTENING, 1);
  }

  /** True when pages come on demand. */
  get listening(): boolean {
    return Atomics.load(this.#flags, Flag.LISTENING) === 1;
  }

  /** Records that the main channel came to its regular end. */
  setMainEnded(): void {
    Atomics.store(this.#flags, Flag.MAIN_ENDED, 1);
  }

  /** True when the main channel came to its regular end. */
  get mainEnded(): boolean {
    return Atomics.load(this.#flags, Flag.MAIN_ENDED) === 1;
  }

  /** Records that the guest is being started: from here on a source that went may come again. */
  setGuestStarted(): void {
    Atomics.store(this.#flags, Flag.GUEST_STARTED, 1);
  }

  /** Records that the migration is over, well or not: no source may come again. */
  setOver(): void {
    Atomics.store(this.#flags, Flag.OVER, 1);
  }

  /** True when the migration is over. */
  get over(): boolean {
    return Atomics.load(this.#flags, Flag.OVER) === 1;
  }

  /** True when a source that went may come again: the guest runs here, or is being started. */
  get resumable(): boolean {
    return Atomics.load(this.#flags, Flag.GUEST_STARTED) === 1 && !this.over;
  }

  /** Records that the guest has been started. */
  setGuestRuns(): void {
    Atomics.store(this.#flags, Flag.GUEST_RUNS, 1);
  }

  /** True when the guest has been started. */
  get guestRuns(): boolean {
    return Atomics.load(this.#flags, Flag.GUEST_RUNS) === 1;
  }

  /** Counts pages that are in place. */
  addReceived(pages: number): void {
    Atomics.add(this.#flags, RECEIVED, pages);
  }

  /** Pages in place, below 2^31. */
  get received(): number {
    return Atomics.load(this.#flags, RECEIVED);
  }

  /** Main channel's task, before LISTEN: counts pages that the source does not hold. */
  addAbsent(pages: number): void {
    Atomics.add(this.#flags, Flag.ABSENT, pages);
  }

  /** Pages that the source does not hold, and never sends. */
  get absent(): number {
    return Atomics.load(this.#flags, Flag.ABSENT);
  }

  /** How many of so many pages are still to come. */
  missingOf(pages: number): number {
    return pages - this.received - this.absent;
  }

  /** Fault server: counts faults taken. */
  addFaults(count: number): void {
    this.#counters[Counter.FAULTS]! += count;
  }

  /** Fault server: counts pages asked for. */
  addRequest(count = 1): void {
    this.#counters[Counter.REQUESTS]! += count;
  }

  /** Fault server: counts bytes of the preempt channel. */
  addPreemptBytes(count: number): void {
    this.#counters[Counter.PREEMPT_BYTES]! += count;
  }

  /** Main channel's task: counts bytes of the main channel. */
  addMainBytes(count: number): void {
    this.#counters[Counter.MAIN_BYTES]! += count;
  }

  /** Counts pages that were in place already, by the channel they came on. */
  addDuplicates(channel: "main" | "preempt", count: number): void {
    this.#counters[channel === "main" ? Counter.MAIN_DUPLICATES : Counter.PREEMPT_DUPLICATES]! +=
      count;
  }

  /** Faults taken. */
  get faults(): number {
    return this.#counters[Counter.FAULTS]!;
  }

  /** Pages asked for. */
  get requests(): number {
    return this.#counters[Counter.REQUESTS]!;
  }

  /** Bytes received on the preempt channel. */
  get preemptBytes(): number {
    return this.#counters[Counter.PREEMPT_BYTES]!;
  }

  /** Bytes received on the main channel. */
  get mainBytes(): number {
    return this.#counters[Counter.MAIN_BYTES]!;
  }

  /** Pages that came although they were in place; they were left as they were. */
  get duplicates(): number {
    return this.#counters[Counter.MAIN_DUPLICATES]! + this.#counters[Counter.PREEMPT_DUPLICATES]!;
  }
}
