/**
 * The memory of the lockless rings between one submitter and N workers, and a worker's end of them.
 *
 * A worker's slots form one ring of twice its capacity, with three counters, each written by one
 * side only:
 *
 * ```text
 *        released        taken        completed        submitted
 *   free    |   results, looked at   |   results   |   requests   |   free
 * ```
 *
 * | store | by | publishes, to whom |
 * |---|---|---|
 * | `SUBMITTED` + 1 | submitter | the request's words (and the page it copied): the worker that loads the new count may read them, and owns the slot |
 * | `COMPLETED` + 1 | worker | the result's words (and the bytes it packed): the submitter that loads the new count may read them, and owns the slot again |
 * | `STATE` = `ENTERED` | worker | that it will look at its ring |
 * | `STATE` = `BURIED` | the thread as its last act, or whoever saw it end | the last `COMPLETED` there will be: what lies behind it goes back to the submitter |
 * | `ASLEEP` = `ON_FLAG` | the one that goes to sleep | nothing; it is stored before the last look |
 * | `ASLEEP` = `ON_DESCRIPTOR` | one that will poll its eventfd | the same |
 *
 * Every one of them is an `Atomics.store` (or a read-modify-write), every look an `Atomics.load`. These are
 * sequentially consistent, so plain stores before a publishing store are seen after the load that
 * sees it. One store of `COMPLETED` turns a request into a result: there is no moment at which an
 * entry is in both states or in neither, whenever the worker dies.
 *
 * No wake-up is lost: a sleeper stores `ASLEEP`, then looks again, then waits while `ASLEEP` is
 * still set, or for the eventfd; the other side publishes, then loads `ASLEEP`. In the one order that all these accesses have,
 * either the look comes after the publishing, or the load comes after the flag. Whoever finds the
 * flag clears it and notifies, or signals; nobody notifies a thread that is awake.
 *
 * What only the submitter uses (`TAKEN`, `RELEASED`, `ABANDONED`, `OUTSTANDING`) lies in the shared
 * memory as well, so that one thread may submit after another, but needs no atomic access: whatever
 * told the second thread to begin has ordered them.
 */

import { signalEvent } from "../../ffi/eventfd.ts";

/** Sizes of the rings; all ends must be made with the same. */
export interface WorkRingsShape {
  /** Worker threads. */
  readonly workers: number;
  /** Requests that wait or are worked on at one worker, a power of two; default 4. */
  readonly capacity?: number;
  /** 32-bit words of a slot, for the request and for its result. */
  readonly words: number;
}

// Offsets in 32-bit words. What different threads write is 64 bytes apart, so never on one cache
// line; no group uses more than its first 16 bytes, because shared memory is aligned to no more.
const LINE = 16;

/** Words that all threads share. */
export const Shared = {
  STOPPED: 0,
  /** Workers that entered or were buried. */
  CHANGES: 1,
  BURIALS: 2,
  /** The eventfd of a submitter that waits in another way than by sleeping here, or -1. */
  WAKE_FD: 3,
  /** Not 0 while the submitter sleeps or is about to: a value of {@linkcode Asleep}. */
  ASLEEP: LINE,
  /** Requests submitted and not taken: the submitter's own. */
  OUTSTANDING: 2 * LINE,
  /** The first worker's words. */
  WORKERS: 3 * LINE,
} as const;

/** Words of one worker. */
export const Own = {
  SUBMITTED: 0,
  /** 1 while the worker sleeps or is about to. Beside what the submitter has just stored. */
  ASLEEP: 1,
  COMPLETED: LINE,
  STATE: 2 * LINE,
  /** The submitter's own from here on. */
  TAKEN: 2 * LINE + 1,
  RELEASED: 2 * LINE + 2,
  /** Requests taken back from behind the last one completed. */
  ABANDONED: 2 * LINE + 3,
  /** A float64, of nanoseconds. */
  CPU_TIME: 3 * LINE,
  /** The eventfd of a worker that waits in another way than by sleeping here, or -1. */
  WAKE_FD: 3 * LINE + 2,
  WORDS: 4 * LINE,
} as const;

/** How one is to be woken. */
export const Asleep = { NO: 0, ON_FLAG: 1, ON_DESCRIPTOR: 2 } as const;

/** What has become of a worker. */
export const State = { ABSENT: 0, ENTERED: 1, BURIED: 2 } as const;

/** The shared memory of the rings, as both ends see it. */
export class WorkMemory {
  readonly buffer: SharedArrayBuffer;
  readonly words: Int32Array;
  readonly times: Float64Array;
  readonly workers: number;
  readonly capacity: number;
  /** Index of the first slot's first word. */
  readonly first: number;
  /** Words from slot to slot: whole cache lines. */
  readonly stride: number;

  /** @throws {RangeError} for a shape that cannot be, or a buffer of another one */
  constructor(shape: WorkRingsShape, buffer?: SharedArrayBuffer) {
    const { workers, capacity = 4, words } = shape;
    if (!(Number.isInteger(workers) && workers >= 1)) {
      throw new RangeError(`Number of workers is no positive whole number: ${workers}`);
    }
    if (!(Number.isInteger(Math.log2(capacity)) && capacity >= 1 && capacity <= 2 ** 20)) {
      throw new RangeError(`Ring capacity is no power of two up to 2^20: ${capacity}`);
    }
    if (!(Number.isInteger(words) && words >= 1)) {
      throw new RangeError(`Words of a slot are no positive whole number: ${words}`);
    }
    this.workers = workers;
    this.capacity = capacity;
    this.first = Shared.WORKERS + workers * Own.WORDS;
    this.stride = Math.ceil(words / LINE) * LINE;
    const bytes = (this.first + workers * 2 * capacity * this.stride) * 4;
    this.buffer = buffer ?? new SharedArrayBuffer(bytes);
    if (this.buffer.byteLength !== bytes) {
      throw new RangeError(
        `Buffer of work rings has the size of another shape: ${this.buffer.byteLength}, not ${bytes}`,
      );
    }
    this.words = new Int32Array(this.buffer);
    this.times = new Float64Array(this.buffer);
    if (buffer !== undefined) return;
    this.words[Shared.WAKE_FD] = -1;
    for (let worker = 0; worker < workers; worker++) {
      this.words[this.base(worker) + Own.WAKE_FD] = -1;
    }
  }

  /**
   * Index of a worker's first word.
   *
   * @throws {RangeError} when there is no such worker
   */
  base(worker: number): number {
    if (!(Number.isInteger(worker) && worker >= 0 && worker < this.workers)) {
      throw new RangeError(`There are ${this.workers} workers, and no worker: ${worker}`);
    }
    return Shared.WORKERS + worker * Own.WORDS;
  }
}

function wake(words: Int32Array, asleep: number, wakeFd: number): void {
  const how = Atomics.load(words, asleep);
  if (how === Asleep.NO) return;
  // Of several that find the flag, one notifies.
  if (Atomics.compareExchange(words, asleep, how, Asleep.NO) !== how) return;
  if (how === Asleep.ON_FLAG) Atomics.notify(words, asleep);
  else signalEvent(words[wakeFd]!);
}

/** Wakes the submitter if it sleeps; costs one load when it does not. */
export function wakeSubmitter(words: Int32Array): void {
  wake(words, Shared.ASLEEP, Shared.WAKE_FD);
}

/** Wakes the worker whose first word that is, in the same way. */
export function wakeWorker(words: Int32Array, base: number): void {
  wake(words, base + Own.ASLEEP, base + Own.WAKE_FD);
}

/** Says that the worker whose first word that is will finish nothing more, and who waits for it. */
export function buryWorker(words: Int32Array, base: number): void {
  if (Atomics.exchange(words, base + Own.STATE, State.BURIED) === State.BURIED) return;
  Atomics.add(words, Shared.BURIALS, 1);
  Atomics.add(words, Shared.CHANGES, 1);
  wakeSubmitter(words);
}

/**
 * A worker's end: takes requests in the order in which they were submitted to it.
 *
 * ```ts ignore
 * ring.enter();
 * for (let slot = ring.next(); slot >= 0; slot = ring.next()) {
 *   const at = ring.at(slot);
 *   ring.words[at] = work(ring.words[at]!);
 *   ring.finish();
 * }
 * ```
 */
export class WorkRing {
  /** The shared memory, by 32-bit words. */
  readonly words: Int32Array;
  readonly #times: Float64Array;
  readonly #base: number;
  readonly #mask: number;
  /** The first of this worker's slots. */
  readonly firstSlot: number;
  /** How many it has. */
  readonly slots: number;
  readonly #first: number;
  readonly #stride: number;
  #completed: number;

  /**
   * @param shape as the submitter's
   * @param buffer the submitter's {@linkcode WorkRings.buffer}
   * @param worker which worker this is, from 0
   * @throws {RangeError} for a buffer of another shape, or no such worker
   */
  constructor(shape: WorkRingsShape, buffer: SharedArrayBuffer, worker: number) {
    const memory = new WorkMemory(shape, buffer);
    this.words = memory.words;
    this.#times = memory.times;
    this.#base = memory.base(worker);
    this.#mask = 2 * memory.capacity - 1;
    this.slots = 2 * memory.capacity;
    this.firstSlot = worker * this.slots;
    this.#first = memory.first;
    this.#stride = memory.stride;
    this.#completed = memory.words[this.#base + Own.COMPLETED]!;
  }

  /** Index in {@linkcode WorkRing.words} of a slot's first word. */
  at(slot: number): number {
    return this.#first + slot * this.#stride;
  }

  /** Lets the submitter use this worker; before that, it gets no requests. */
  enter(): void {
    const words = this.words;
    // Not over BURIED: a worker that was given up stays so.
    const state = this.#base + Own.STATE;
    if (Atomics.compareExchange(words, state, State.ABSENT, State.ENTERED) !== State.ABSENT) return;
    Atomics.add(words, Shared.CHANGES, 1);
    wakeSubmitter(words);
  }

  /**
   * Waits for a request, which is the worker's until {@linkcode WorkRing.finish}; asked again
   * before that, gives the same.
   *
   * @returns its slot, or -1 at once when the rings were stopped, whatever is still to be done
   */
  next(): number {
    const words = this.words;
    const asleep = this.#base + Own.ASLEEP;
    for (;;) {
      if (this.stopped) return -1;
      const slot = this.look();
      if (slot >= 0) return slot;
      Atomics.store(words, asleep, Asleep.ON_FLAG);
      // The second look, which no wake-up can be lost behind.
      if (this.look() < 0 && !this.stopped) Atomics.wait(words, asleep, Asleep.ON_FLAG);
      Atomics.store(words, asleep, Asleep.NO);
    }
  }

  /** In place of {@linkcode WorkRing.next}, for a worker that does not wait: -1 when there is no request. */
  look(): number {
    const submitted = Atomics.load(this.words, this.#base + Own.SUBMITTED);
    if (submitted === this.#completed) return -1;
    return this.firstSlot + (this.#completed & this.#mask);
  }

  /**
   * Has {@linkcode WorkRing.wakeFd} signalled, once, when there is a request or the rings are stopped.
   *
   * @returns false when that is so already: then there is no signal to wait for
   */
  requestWake(): boolean {
    const asleep = this.#base + Own.ASLEEP;
    Atomics.store(this.words, asleep, Asleep.ON_DESCRIPTOR);
    // The second look, which no wake-up can be lost behind.
    if (this.look() < 0 && !this.stopped) return true;
    Atomics.store(this.words, asleep, Asleep.NO);
    return false;
  }

  /** The eventfd that {@linkcode WorkRing.requestWake} has signalled, its owner's; -1 for none. */
  get wakeFd(): number {
    return this.words[this.#base + Own.WAKE_FD]!;
  }

  /** Whether the rings were stopped, whatever is still to be done. */
  get stopped(): boolean {
    return Atomics.load(this.words, Shared.STOPPED) !== 0;
  }

  /** Says, in the last act of this worker's thread, that it will finish nothing more. */
  bury(): void {
    buryWorker(this.words, this.#base);
  }

  /** Gives the slot that {@linkcode WorkRing.next} gave back to the submitter, with its result. */
  finish(): void {
    this.#completed = (this.#completed + 1) | 0;
    Atomics.store(this.words, this.#base + Own.COMPLETED, this.#completed);
    wakeSubmitter(this.words);
  }

  /**
   * Adds to the processor time of this worker, which the submitter's side can read.
   *
   * @param nanoseconds used since the last call
   */
  addCpuTime(nanoseconds: number): void {
    const at = (this.#base + Own.CPU_TIME) / 2;
    this.#times[at] = this.#times[at]! + nanoseconds;
  }
}
