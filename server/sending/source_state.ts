/** What the threads of one outgoing migration share. */

import { LatencyHistogram } from "../../migration/threads/histogram.ts";
import { SharedLayout } from "../../migration/threads/shared_layout.ts";
import { CompressionCounters } from "../compression/compression_counters.ts";

/** The tasks that send, of which a migration of an image has no `precopy`. */
export const SENDING_THREADS = ["precopy", "background", "return-path"] as const;
/** One of {@linkcode SENDING_THREADS}. */
export type SendingThread = typeof SENDING_THREADS[number];

const counters = new SharedLayout();
const Slot = counters.numbers("PAGES", "ZERO_PAGES", "BYTES", "REQUESTS");

/** Counters of one sending thread; that thread alone writes them, any may read. */
export class SenderCounters {
  /** Bytes of shared memory. */
  static readonly BYTES: number = counters.bytes;

  readonly #slots: Float64Array;

  /**
   * @param buffer shared memory
   * @param offset bytes from its start, a multiple of 8
   */
  constructor(buffer: SharedArrayBuffer, offset: number) {
    this.#slots = new Float64Array(buffer, offset, SenderCounters.BYTES / 8);
  }

  /** Counts a batch: pages sent as they are, and zero pages. */
  addPages(pages: number, zeroPages: number): void {
    this.#slots[Slot.PAGES]! += pages;
    this.#slots[Slot.ZERO_PAGES]! += zeroPages;
  }

  /** Counts bytes given to a socket, or taken from it. */
  addBytes(bytes: number): void {
    this.#slots[Slot.BYTES]! += bytes;
  }

  /** Counts pages that a destination asked for. */
  addRequests(pages: number): void {
    this.#slots[Slot.REQUESTS]! += pages;
  }

  /** Pages sent as they are. */
  get pages(): number {
    return this.#slots[Slot.PAGES]!;
  }

  /** Zero pages sent. */
  get zeroPages(): number {
    return this.#slots[Slot.ZERO_PAGES]!;
  }

  /** Bytes given to a socket, or taken from it. */
  get bytes(): number {
    return this.#slots[Slot.BYTES]!;
  }

  /** Pages that the destination asked for. */
  get requests(): number {
    return this.#slots[Slot.REQUESTS]!;
  }
}

const layout = new SharedLayout();
const Flag = layout.words(
  "STOP",
  "BACKGROUND_ENDED",
  "GUEST_LOADED",
  "PREEMPT_FD",
  "SWITCHED",
  "PEER_CLOSED",
  "PEER_FAILED",
  "PEER_OURS",
  "CONFIRMED",
  "ENDS_PREEMPT",
  "STREAMS",
  "POSTCOPY_WANTED",
);
// Groups of their own for what the threads write while they run.
const { URGENT } = layout.words("URGENT");
const { LOCALITY } = layout.words("LOCALITY");
const BACKGROUND = layout.room(SenderCounters.BYTES);
const REQUESTED = layout.room(SenderCounters.BYTES);
const RETURN_PATH = layout.room(SenderCounters.BYTES);
const MULTIFD = layout.room(SenderCounters.BYTES);
const COMPRESSION = layout.room(CompressionCounters.BYTES);
const CpuTime = layout.numbers(...SENDING_THREADS);
const { BANDWIDTH } = layout.numbers("BANDWIDTH");
const SERVICE = layout.room(LatencyHistogram.BYTES);

/**
 * Flags and counters of one outgoing migration, in shared memory. Every thread makes its own from
 * the same buffer.
 */
export class SourceState {
  /** The shared memory behind it. */
  readonly buffer: SharedArrayBuffer;
  /** What was sent unasked. */
  readonly background: SenderCounters;
  /** What of that went on the channels of multifd. */
  readonly multifd: SenderCounters;
  /** What was sent because it was asked for, by whomever the mode says. */
  readonly urgent: SenderCounters;
  /** What the request server heard. */
  readonly returnPath: SenderCounters;
  /** What the thread that sends the main channel had compressed. */
  readonly compression: CompressionCounters;
  /** From a request in the request server's hands to its page in the socket. */
  readonly service: LatencyHistogram;
  readonly #flags: Int32Array;
  readonly #numbers: Float64Array;

  /** @param buffer shared memory of another thread's state; without it, new */
  constructor(buffer?: SharedArrayBuffer) {
    const memory = buffer ?? new SharedArrayBuffer(layout.bytes);
    this.buffer = memory;
    this.#flags = new Int32Array(memory);
    this.#numbers = new Float64Array(memory);
    this.background = new SenderCounters(memory, BACKGROUND);
    this.urgent = new SenderCounters(memory, REQUESTED);
    this.returnPath = new SenderCounters(memory, RETURN_PATH);
    this.multifd = new SenderCounters(memory, MULTIFD);
    this.compression = new CompressionCounters(memory, COMPRESSION);
    this.service = new LatencyHistogram(memory, SERVICE);
    if (buffer === undefined) {
      this.#flags[Flag.PREEMPT_FD] = -1;
      this.#flags[LOCALITY] = -1;
    }
  }

  /**
   * Records the processor time that a thread has used so far for this migration, in nanoseconds; its task
   * alone does.
   */
  setCpuTime(thread: SendingThread, nanoseconds: number): void {
    this.#numbers[CpuTime[thread]] = nanoseconds;
  }

  /** Bytes a second of the background stream, 0 for no limit: its owner may change it while it is sent. */
  get maxPostcopyBandwidth(): number {
    return this.#numbers[BANDWIDTH]!;
  }

  set maxPostcopyBandwidth(bytesPerSecond: number) {
    this.#numbers[BANDWIDTH] = bytesPerSecond;
  }

  /** The processor time that a thread has used for this migration, in nanoseconds, as recorded last. */
  cpuTime(thread: SendingThread): number {
    return this.#numbers[CpuTime[thread]]!;
  }

  /**
   * Forgets what was true of the connection before: another one begins, and no task of the old one is left.
   */
  beginLink(): void {
    Atomics.store(this.#flags, Flag.STOP, 0);
    Atomics.store(this.#flags, Flag.BACKGROUND_ENDED, 0);
    Atomics.store(this.#flags, Flag.PEER_CLOSED, 0);
    Atomics.store(this.#flags, Flag.STREAMS, 0);
    this.preemptFd = -1;
    this.endUrgent();
    this.takeLocality();
  }

  /** Tells all tasks to end; their eventfds must be signalled too. */
  stop(): void {
    Atomics.store(this.#flags, Flag.STOP, 1);
    this.endUrgent();
  }

  /** True when the tasks are to end. */
  get stopped(): boolean {
    return Atomics.load(this.#flags, Flag.STOP) === 1;
  }

  /** The preempt channel's descriptor; -1 before it is connected. */
  get preemptFd(): number {
    return Atomics.load(this.#flags, Flag.PREEMPT_FD);
  }

  set preemptFd(fd: number) {
    Atomics.store(this.#flags, Flag.PREEMPT_FD, fd);
  }

  /** Set when the destination said that the guest is loaded there (PONG 3, or SHUT 0). */
  get guestLoaded(): boolean {
    return Atomics.load(this.#flags, Flag.GUEST_LOADED) === 1;
  }

  /** Records that the destination has loaded the device state. */
  setGuestLoaded(): void {
    Atomics.store(this.#flags, Flag.GUEST_LOADED, 1);
  }

  /**
   * Whether the preempt channel ends with a record, since the destination may be one whose thread waits for
   * that.
   */
  get endsPreempt(): boolean {
    return Atomics.load(this.#flags, Flag.ENDS_PREEMPT) === 1;
  }

  set endsPreempt(ends: boolean) {
    Atomics.store(this.#flags, Flag.ENDS_PREEMPT, ends ? 1 : 0);
  }

  /** Set when the guest is being handed over: from here on pages may be asked for. */
  get switched(): boolean {
    return Atomics.load(this.#flags, Flag.SWITCHED) === 1;
  }

  /** Records that the guest is being handed over; before the destination is told to run it. */
  setSwitched(): void {
    Atomics.store(this.#flags, Flag.SWITCHED, 1);
  }

  /** Set when the main channel is the background sender's, to stream what is left. */
  get streams(): boolean {
    return Atomics.load(this.#flags, Flag.STREAMS) === 1;
  }

  /** Lets the background sender stream; its eventfd must be signalled too. */
  setStreams(): void {
    Atomics.store(this.#flags, Flag.STREAMS, 1);
  }

  /** Set when what is left of an image's precopy is to follow on demand. */
  get postcopyWanted(): boolean {
    return Atomics.load(this.#flags, Flag.POSTCOPY_WANTED) === 1;
  }

  /** Ends an image's precopy; the background sender's eventfd must be signalled too. */
  wantPostcopy(): void {
    Atomics.store(this.#flags, Flag.POSTCOPY_WANTED, 1);
  }

  /** Set when the destination has closed the connection, and all that it had said was heard. */
  get peerClosed(): boolean {
    return Atomics.load(this.#flags, Flag.PEER_CLOSED) === 1;
  }

  /** Records that the destination will say nothing more. */
  setPeerClosed(): void {
    Atomics.store(this.#flags, Flag.PEER_CLOSED, 1);
  }

  /** Set when the destination has said that it failed: it runs no guest, and cannot go on. */
  get peerFailed(): boolean {
    return Atomics.load(this.#flags, Flag.PEER_FAILED) === 1;
  }

  /** Records that the destination has said that it failed. */
  setPeerFailed(): void {
    Atomics.store(this.#flags, Flag.PEER_FAILED, 1);
  }

  /**
   * Set when the destination is one of this project's, which wants every page. A QEMU's other pages are zero;
   * which it is, is known when the guest is loaded.
   */
  get peerOurs(): boolean {
    return Atomics.load(this.#flags, Flag.PEER_OURS) === 1;
  }

  /** Records that the destination has listed extensions. */
  setPeerOurs(): void {
    Atomics.store(this.#flags, Flag.PEER_OURS, 1);
  }

  /** Set when the destination has confirmed the end. */
  get confirmed(): boolean {
    return Atomics.load(this.#flags, Flag.CONFIRMED) === 1;
  }

  /** Records that the destination has confirmed the end. */
  setConfirmed(): void {
    Atomics.store(this.#flags, Flag.CONFIRMED, 1);
  }

  /** Set when no page is left that is to be sent unasked. */
  get backgroundEnded(): boolean {
    return Atomics.load(this.#flags, Flag.BACKGROUND_ENDED) === 1;
  }

  /** Records that no page is left that is to be sent unasked. */
  setBackgroundEnded(): void {
    Atomics.store(this.#flags, Flag.BACKGROUND_ENDED, 1);
  }

  /** Holds the background sender's next batch back until {@linkcode SourceState.endUrgent}. */
  beginUrgent(): void {
    Atomics.store(this.#flags, URGENT, 1);
  }

  /** Lets the background sender go on. */
  endUrgent(): void {
    Atomics.store(this.#flags, URGENT, 0);
  }

  /** True while an urgent request is being served. */
  get servesUrgent(): boolean {
    return Atomics.load(this.#flags, URGENT) === 1;
  }

  /** Request server: the background walk is to go on behind this page (locality of reference). */
  setLocality(page: number): void {
    Atomics.store(this.#flags, LOCALITY, page);
  }

  /** Background sender: takes the page to go on from; -1 when nothing was asked for since. */
  takeLocality(): number {
    return Atomics.exchange(this.#flags, LOCALITY, -1);
  }
}
