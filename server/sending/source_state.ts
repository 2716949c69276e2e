/** What the threads of one outgoing migration share. */

import { LatencyHistogram } from "../../migration/threads/histogram.ts";
import { CompressionCounters } from "../compression/compression_counters.ts";

const FLAG_BYTES = 64 * 4;
const STOP = 0;
const BACKGROUND_ENDED = 1;
const GUEST_LOADED = 2;
const PREEMPT_FD = 3;
const SWITCHED = 4;
const PEER_CLOSED = 5;
// Cache lines of their own for what the workers write while they run.
const URGENT = 16;
const LOCALITY = 32;

const COUNTER_OFFSET = FLAG_BYTES;
const SENDER_SLOTS = 8;
const COUNTER_BYTES = 5 * SENDER_SLOTS * 8;
const HISTOGRAM_OFFSET = COUNTER_OFFSET + COUNTER_BYTES;

/** The threads that send, of which a migration of an image has no `precopy`. */
export const SENDING_THREADS = ["precopy", "background", "return-path"] as const;
/** One of {@linkcode SENDING_THREADS}. */
export type SendingThread = typeof SENDING_THREADS[number];

/** Counters of one sending thread; that thread alone writes them, any may read. */
export class SenderCounters {
  readonly #slots: Float64Array;

  /** @param slots eight float64 slots of shared memory */
  constructor(slots: Float64Array) {
    this.#slots = slots;
  }

  /** Counts a batch: pages sent as they are, and zero pages. */
  addPages(pages: number, zeroPages: number): void {
    this.#slots[0]! += pages;
    this.#slots[1]! += zeroPages;
  }

  /** Counts bytes given to a socket. */
  addBytes(bytes: number): void {
    this.#slots[2]! += bytes;
  }

  /** Counts pages that a destination asked for. */
  addRequests(pages: number): void {
    this.#slots[3]! += pages;
  }

  /** Pages sent as they are. */
  get pages(): number {
    return this.#slots[0]!;
  }

  /** Zero pages sent. */
  get zeroPages(): number {
    return this.#slots[1]!;
  }

  /** Bytes given to a socket. */
  get bytes(): number {
    return this.#slots[2]!;
  }

  /** Pages that the destination asked for. */
  get requests(): number {
    return this.#slots[3]!;
  }
}

/**
 * Flags and counters of one outgoing migration, in shared memory. Every thread makes its own from
 * the same buffer.
 */
export class SourceState {
  /** The shared memory behind it. */
  readonly buffer: SharedArrayBuffer;
  /** What the background worker sent. */
  readonly background: SenderCounters;
  /** What was sent because it was asked for, by whichever worker the mode says. */
  readonly urgent: SenderCounters;
  /** What the return-path worker heard. */
  readonly returnPath: SenderCounters;
  /** What the thread that sends the main channel had compressed. */
  readonly compression: CompressionCounters;
  /** From a request in the return-path worker's hands to its page in the socket. */
  readonly service: LatencyHistogram;
  readonly #flags: Int32Array;
  readonly #cpuTimes: Float64Array;

  /** @param buffer shared memory of another thread's state; without it, new */
  constructor(buffer?: SharedArrayBuffer) {
    this.buffer = buffer ?? new SharedArrayBuffer(HISTOGRAM_OFFSET + LatencyHistogram.BYTES);
    this.#flags = new Int32Array(this.buffer, 0, 64);
    const slots = (index: number) =>
      new Float64Array(this.buffer, COUNTER_OFFSET + index * SENDER_SLOTS * 8, SENDER_SLOTS);
    this.background = new SenderCounters(slots(0));
    this.urgent = new SenderCounters(slots(1));
    this.returnPath = new SenderCounters(slots(2));
    this.compression = new CompressionCounters(slots(3));
    this.#cpuTimes = slots(4);
    this.service = new LatencyHistogram(this.buffer, HISTOGRAM_OFFSET);
    if (buffer === undefined) {
      this.#flags[PREEMPT_FD] = -1;
      this.#flags[LOCALITY] = -1;
    }
  }

  /** Records the processor time that a thread has used so far, in nanoseconds; that thread alone does. */
  setCpuTime(thread: SendingThread, nanoseconds: number): void {
    this.#cpuTimes[SENDING_THREADS.indexOf(thread)] = nanoseconds;
  }

  /** The processor time that a thread has used, in nanoseconds, as it recorded it last. */
  cpuTime(thread: SendingThread): number {
    return this.#cpuTimes[SENDING_THREADS.indexOf(thread)]!;
  }

  /** Tells all threads to end; their eventfds must be signalled too. */
  stop(): void {
    Atomics.store(this.#flags, STOP, 1);
    this.endUrgent();
  }

  /** True when the threads are to end. */
  get stopped(): boolean {
    return Atomics.load(this.#flags, STOP) === 1;
  }

  /** The preempt channel's descriptor; -1 before it is connected. */
  get preemptFd(): number {
    return Atomics.load(this.#flags, PREEMPT_FD);
  }

  set preemptFd(fd: number) {
    Atomics.store(this.#flags, PREEMPT_FD, fd);
  }

  /** Set when the destination said that the guest is loaded there (PONG 3, or SHUT 0). */
  get guestLoaded(): boolean {
    return Atomics.load(this.#flags, GUEST_LOADED) === 1;
  }

  /** Records that the destination has loaded the device state. */
  setGuestLoaded(): void {
    Atomics.store(this.#flags, GUEST_LOADED, 1);
  }

  /** Set when the guest is being handed over: from here on pages may be asked for. */
  get switched(): boolean {
    return Atomics.load(this.#flags, SWITCHED) === 1;
  }

  /** Records that the guest is being handed over; before the destination is told to run it. */
  setSwitched(): void {
    Atomics.store(this.#flags, SWITCHED, 1);
  }

  /** Set when the destination has closed the connection, and all that it had said was heard. */
  get peerClosed(): boolean {
    return Atomics.load(this.#flags, PEER_CLOSED) === 1;
  }

  /** Records that the destination will say nothing more. */
  setPeerClosed(): void {
    Atomics.store(this.#flags, PEER_CLOSED, 1);
  }

  /** Set when no page is left to claim. */
  get backgroundEnded(): boolean {
    return Atomics.load(this.#flags, BACKGROUND_ENDED) === 1;
  }

  /** Records that no page is left to claim. */
  setBackgroundEnded(): void {
    Atomics.store(this.#flags, BACKGROUND_ENDED, 1);
  }

  /** Holds the background worker's next batch back until {@linkcode SourceState.endUrgent}. */
  beginUrgent(): void {
    Atomics.store(this.#flags, URGENT, 1);
  }

  /** Lets the background worker go on. */
  endUrgent(): void {
    Atomics.store(this.#flags, URGENT, 0);
    Atomics.notify(this.#flags, URGENT);
  }

  /**
   * Waits while an urgent request is being served.
   *
   * @param milliseconds the longest wait: it is bounded so that a stop is never missed
   */
  awaitNoUrgent(milliseconds: number): void {
    if (Atomics.load(this.#flags, URGENT) === 1) {
      Atomics.wait(this.#flags, URGENT, 1, milliseconds);
    }
  }

  /** Return-path worker: the background walk is to go on behind this page (locality of reference). */
  setLocality(page: number): void {
    Atomics.store(this.#flags, LOCALITY, page);
  }

  /** Background worker: takes the page to go on from; -1 when nothing was asked for since. */
  takeLocality(): number {
    return Atomics.exchange(this.#flags, LOCALITY, -1);
  }
}
