/** The submitter's end of the lockless rings; work_ring.ts has their memory and its ordering. */

import {
  Asleep,
  buryWorker,
  Own,
  Shared,
  State,
  wakeSubmitter,
  wakeWorker,
  WorkMemory,
  type WorkRingsShape,
} from "./work_ring.ts";

export type { WorkRingsShape };

/**
 * Gives requests to worker threads and takes their results. One thread submits: all members are for
 * it alone, except {@linkcode WorkRings.stop}, {@linkcode WorkRings.stopped},
 * {@linkcode WorkRings.bury} and {@linkcode WorkRings.cpuTime}, which any thread may use on rings of
 * the same buffer. When another thread goes on submitting, it finds everything as the first left it.
 *
 * Results come in the order of submission for each worker, and in no order between workers.
 */
export class WorkRings {
  /** The sizes it was made with. */
  readonly shape: WorkRingsShape;
  /** The shared memory, to give to the other ends' constructors. */
  readonly buffer: SharedArrayBuffer;
  /** Number of slots, `workers * 2 * capacity`; slot `s` is of worker `floor(s / (2 * capacity))`. */
  readonly slots: number;
  /** The shared memory, by 32-bit words. */
  readonly words: Int32Array;
  readonly #memory: WorkMemory;
  // Rings are offsets in one array, not objects: a request, from reserve() to release() and with
  // the worker's part, takes 70 ns of one thread with 1 worker, 95 with 4, 200 with 16.
  readonly #capacity: number;
  readonly #mask: number;
  readonly #end: number;
  /** First word of the worker that got the last request. */
  #to: number = Shared.WORKERS;
  /** Whether a slot of that worker is being filled. */
  #reserved = false;
  /** First word of the worker whose results are being taken. */
  #from: number = Shared.WORKERS;
  /** What that worker had completed when it was last looked at. */
  #completed: number;
  #allBusy = false;

  /**
   * @param shape the sizes
   * @param buffer shared memory of rings made with the same sizes
   * @throws {RangeError} for a shape that cannot be, or a buffer of another one
   */
  constructor(shape: WorkRingsShape, buffer?: SharedArrayBuffer) {
    const memory = this.#memory = new WorkMemory(shape, buffer);
    this.shape = shape;
    this.buffer = memory.buffer;
    this.words = memory.words;
    this.slots = memory.workers * 2 * memory.capacity;
    this.#capacity = memory.capacity;
    this.#mask = 2 * memory.capacity - 1;
    this.#end = memory.first;
    this.#completed = memory.words[Shared.WORKERS + Own.TAKEN]!;
  }

  /** Index in {@linkcode WorkRings.words} of a slot's first word. */
  at(slot: number): number {
    return this.#memory.first + slot * this.#memory.stride;
  }

  /**
   * Finds a slot to fill and {@linkcode WorkRings.submit}. Goes on with the worker used last while
   * that has room, so that one wake-up serves several requests; else looks at every worker that has
   * entered. Nothing is spent until `submit`: reserving again is no loss.
   *
   * @returns a slot, or -1; then {@linkcode WorkRings.allBusy} says why
   */
  reserve(): number {
    const words = this.words;
    let base = this.#to;
    let busy = 0;
    let entered = 0;
    do {
      if (Atomics.load(words, base + Own.STATE) === State.ENTERED) {
        entered++;
        if (this.#isBusy(base)) busy++;
        else if (this.#hasRoom(base)) return this.#reserve(base);
      }
      base += Own.WORDS;
      if (base === this.#end) base = Shared.WORKERS;
    } while (base !== this.#to);
    this.#reserved = false;
    this.#allBusy = entered > 0 && busy === entered;
    return -1;
  }

  /**
   * The same with one worker, for what this one is to get and no other.
   *
   * @returns a slot; -1 when it has no room, or is not there
   */
  reserveOf(worker: number): number {
    const base = this.#memory.base(worker);
    const entered = Atomics.load(this.words, base + Own.STATE) === State.ENTERED;
    if (entered && !this.#isBusy(base) && this.#hasRoom(base)) return this.#reserve(base);
    this.#reserved = false;
    return -1;
  }

  /**
   * Why {@linkcode WorkRings.reserve} last gave -1. True: every ring is full of requests. False:
   * results must be taken and released first, or there is no worker (none has entered, or all were
   * buried).
   */
  get allBusy(): boolean {
    return this.#allBusy;
  }

  /**
   * Publishes the slot reserved last; wakes its worker only when that sleeps.
   *
   * @throws {Error} when no slot is reserved
   */
  submit(): void {
    if (!this.#reserved) throw new Error("No slot is reserved: call reserve() first");
    this.#reserved = false;
    const words = this.words;
    const base = this.#to;
    words[Shared.OUTSTANDING] = words[Shared.OUTSTANDING]! + 1;
    Atomics.store(words, base + Own.SUBMITTED, (words[base + Own.SUBMITTED]! + 1) | 0);
    wakeWorker(words, base);
  }

  /** Requests submitted and neither taken nor given back by {@linkcode WorkRings.abandoned}. */
  get outstanding(): number {
    return this.words[Shared.OUTSTANDING]!;
  }

  /**
   * Takes a result. It stays the submitter's until {@linkcode WorkRings.release}.
   *
   * @returns the slot, or -1 when no result is there
   */
  take(): number {
    const words = this.words;
    let taken = words[this.#from + Own.TAKEN]!;
    // By the sign: what was seen completed may lie behind what another submitter has taken since.
    if (((this.#completed - taken) | 0) <= 0) {
      taken = this.#findResult();
      if (taken === this.#completed) return -1;
    }
    words[this.#from + Own.TAKEN] = (taken + 1) | 0;
    words[Shared.OUTSTANDING] = words[Shared.OUTSTANDING]! - 1;
    return this.#slot(this.#from, taken);
  }

  /** Gives back all slots taken so far, to be reserved again. */
  release(): void {
    const words = this.words;
    for (let base: number = Shared.WORKERS; base < this.#end; base += Own.WORDS) {
      words[base + Own.RELEASED] = words[base + Own.TAKEN]!;
    }
  }

  /**
   * Sleeps until a result is there to take. Returns early, with false, when the rings are stopped,
   * when a worker enters or is buried, and does not sleep at all while nothing is outstanding or a
   * buried worker's requests are to be taken back.
   *
   * @param milliseconds how long at most; `Infinity` for no limit
   * @returns whether a result is there
   */
  awaitResult(milliseconds: number): boolean {
    const words = this.words;
    const changes = Atomics.load(words, Shared.CHANGES);
    if (this.#hasResult()) return true;
    if (this.outstanding === 0 || this.#hasAbandoned()) return false;
    const end = performance.now() + milliseconds;
    for (let left = milliseconds; left > 0; left = end - performance.now()) {
      Atomics.store(words, Shared.ASLEEP, Asleep.ON_FLAG);
      // The second look, which no wake-up can be lost behind.
      const nothing = !this.#hasResult();
      const same = Atomics.load(words, Shared.CHANGES) === changes && !this.stopped;
      if (nothing && same) Atomics.wait(words, Shared.ASLEEP, Asleep.ON_FLAG, left);
      Atomics.store(words, Shared.ASLEEP, Asleep.NO);
      if (this.#hasResult()) return true;
      if (this.stopped || Atomics.load(words, Shared.CHANGES) !== changes) return false;
    }
    return false;
  }

  /**
   * In place of {@linkcode WorkRings.awaitResult}, for a submitter that must not sleep here: has
   * {@linkcode WorkRings.wakeFd} signalled, once, when that would return.
   *
   * @returns false when it would return at once: then there is no signal to wait for
   */
  requestWake(): boolean {
    const words = this.words;
    const changes = Atomics.load(words, Shared.CHANGES);
    if (this.#hasResult() || this.outstanding === 0 || this.#hasAbandoned()) return false;
    Atomics.store(words, Shared.ASLEEP, Asleep.ON_DESCRIPTOR);
    // The second look, which no wake-up can be lost behind.
    const nothing = !this.#hasResult();
    if (nothing && Atomics.load(words, Shared.CHANGES) === changes && !this.stopped) return true;
    Atomics.store(words, Shared.ASLEEP, Asleep.NO);
    return false;
  }

  /** The eventfd that {@linkcode WorkRings.requestWake} has signalled; -1 for none, as at first. */
  get wakeFd(): number {
    return this.words[Shared.WAKE_FD]!;
  }

  /** To be set by the owner of the rings, before any worker enters; open as long as one may be there. */
  set wakeFd(fd: number) {
    this.words[Shared.WAKE_FD] = fd;
  }

  /**
   * To be called by the owner of the rings for a worker that waits in another way than by sleeping on
   * them, before it is there.
   *
   * @param worker which
   * @param fd its eventfd, open as long as anybody may submit to it or stop it
   * @throws {RangeError} when there is no such worker
   */
  wakeWorkerBy(worker: number, fd: number): void {
    this.words[this.#memory.base(worker) + Own.WAKE_FD] = fd;
  }

  /**
   * Any thread, the worker's own in its last act too: says that a worker's thread has ended and will
   * finish nothing more (`terminate()` does not end it at once). What it has finished can still be taken; the rest comes back through {@linkcode WorkRings.abandoned}.
   *
   * @throws {RangeError} when there is no such worker
   */
  bury(worker: number): void {
    buryWorker(this.words, this.#memory.base(worker));
  }

  /**
   * Takes back a request that a buried worker did not finish. Its slot is not used again; its words
   * may be partly a result.
   *
   * @returns the slot, or -1 when there is none
   */
  abandoned(): number {
    const words = this.words;
    if (Atomics.load(words, Shared.BURIALS) === 0) return -1;
    for (let base: number = Shared.WORKERS; base < this.#end; base += Own.WORDS) {
      if (!this.#left(base)) continue;
      const count = words[base + Own.ABANDONED]!;
      words[base + Own.ABANDONED] = count + 1;
      words[Shared.OUTSTANDING] = words[Shared.OUTSTANDING]! - 1;
      return this.#slot(base, (Atomics.load(words, base + Own.COMPLETED) + count) | 0);
    }
    return -1;
  }

  /** Any thread: ends every worker's {@linkcode WorkRing.next} and wakes all who sleep. */
  stop(): void {
    const words = this.words;
    Atomics.store(words, Shared.STOPPED, 1);
    wakeSubmitter(words);
    for (let base: number = Shared.WORKERS; base < this.#end; base += Own.WORDS) {
      wakeWorker(words, base);
    }
  }

  /** Any thread: whether {@linkcode WorkRings.stop} was called. */
  get stopped(): boolean {
    return Atomics.load(this.words, Shared.STOPPED) !== 0;
  }

  /** Any thread: processor time that a worker has used so far, in nanoseconds, as it said itself. */
  cpuTime(worker: number): number {
    return this.#memory.times[(this.#memory.base(worker) + Own.CPU_TIME) / 2]!;
  }

  /** Whether a worker's ring is full of requests. */
  #isBusy(base: number): boolean {
    const submitted = this.words[base + Own.SUBMITTED]!;
    return ((submitted - Atomics.load(this.words, base + Own.COMPLETED)) | 0) >= this.#capacity;
  }

  /** Whether a worker's ring has a slot that is released. */
  #hasRoom(base: number): boolean {
    return ((this.words[base + Own.SUBMITTED]! - this.words[base + Own.RELEASED]!) | 0) <=
      this.#mask;
  }

  #reserve(base: number): number {
    this.#to = base;
    this.#reserved = true;
    return this.#slot(base, this.words[base + Own.SUBMITTED]!);
  }

  #slot(base: number, position: number): number {
    const worker = (base - Shared.WORKERS) / Own.WORDS;
    return worker * 2 * this.#capacity + (position & this.#mask);
  }

  /**
   * Turns to the next worker that has results, from the one behind that used last: none waits
   * forever behind a quicker one.
   *
   * @returns what was taken of its results, equal to `#completed` when nobody has any
   */
  #findResult(): number {
    const words = this.words;
    for (let base = this.#from + Own.WORDS;; base += Own.WORDS) {
      if (base === this.#end) base = Shared.WORKERS;
      const taken = words[base + Own.TAKEN]!;
      const completed = Atomics.load(words, base + Own.COMPLETED);
      if (completed !== taken || base === this.#from) {
        this.#from = base;
        this.#completed = completed;
        return taken;
      }
    }
  }

  #hasResult(): boolean {
    const words = this.words;
    for (let base: number = Shared.WORKERS; base < this.#end; base += Own.WORDS) {
      if (Atomics.load(words, base + Own.COMPLETED) !== words[base + Own.TAKEN]) return true;
    }
    return false;
  }

  #hasAbandoned(): boolean {
    if (Atomics.load(this.words, Shared.BURIALS) === 0) return false;
    for (let base: number = Shared.WORKERS; base < this.#end; base += Own.WORDS) {
      if (this.#left(base)) return true;
    }
    return false;
  }

  /** Whether a worker is buried and has left requests that were not taken back. */
  #left(base: number): boolean {
    const words = this.words;
    if (Atomics.load(words, base + Own.STATE) !== State.BURIED) return false;
    const completed = Atomics.load(words, base + Own.COMPLETED);
    return ((completed + words[base + Own.ABANDONED]!) | 0) !== words[base + Own.SUBMITTED];
  }
}
