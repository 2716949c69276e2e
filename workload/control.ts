/** Starting, pausing and stopping a workload's threads. */

/** Whether threads run. */
const Phase = { READY: 0, RUNNING: 1, STOPPED: 2, PAUSED: 3 } as const;

/** What a thread says of itself. */
const ThreadState = { RUNNING: 0, TOUCHING: 1, PARKED: 2, ENDED: 3 } as const;

const PHASE = 0;
const TOUCHED = 1;
/** Changes whenever a thread parks or ends. */
const PARKS = 2;
const FIRST_THREAD = 3;

/** Milliseconds after which a pause looks again, though no thread said anything. */
const LOOK_AGAIN = 50;

/**
 * Starts, pauses and stops all threads, and counts what they touched together. A thread calls
 * {@linkcode Control.mayRun} before each access and {@linkcode Control.end} when it ends.
 */
export class Control {
  /** The shared memory behind it, to give to another thread's constructor. */
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array<SharedArrayBuffer>;

  /** @param from another thread's memory, or how many threads there are, for new memory */
  constructor(from: SharedArrayBuffer | number) {
    this.buffer = typeof from === "number"
      ? new SharedArrayBuffer((FIRST_THREAD + from) * 4)
      : from;
    this.#words = new Int32Array(this.buffer);
  }

  /** Lets all threads run, unless they were stopped. */
  start(): void {
    this.#change(Phase.READY, Phase.RUNNING);
  }

  /** Stops all threads, each before its next access. */
  stop(): void {
    Atomics.store(this.#words, PHASE, Phase.STOPPED);
    Atomics.notify(this.#words, PHASE);
  }

  /**
   * Pauses all threads that run. Resolves when each has parked between two accesses, or has ended:
   * the memory stays as it is from then on until {@linkcode Control.resume}.
   */
  async pause(): Promise<void> {
    const words = this.#words;
    if (this.#change(Phase.RUNNING, Phase.PAUSED) === Phase.READY) return; // none has begun
    while (true) {
      const parks = Atomics.load(words, PARKS);
      if (this.#allParked()) return;
      const waiting = Atomics.waitAsync(words, PARKS, parks, LOOK_AGAIN);
      if (waiting.async) await waiting.value;
    }
  }

  /** Lets threads that were paused run on. */
  resume(): void {
    this.#change(Phase.PAUSED, Phase.RUNNING);
  }

  /** True once stopped. */
  get stopped(): boolean {
    return Atomics.load(this.#words, PHASE) === Phase.STOPPED;
  }

  /** Blocks this thread until it may run or was stopped. */
  waitForStart(): void {
    Atomics.wait(this.#words, PHASE, Phase.READY);
  }

  /** Blocks this running thread for a time, or until it is paused or stopped. */
  sleep(milliseconds: number): void {
    Atomics.wait(this.#words, PHASE, Phase.RUNNING, milliseconds);
  }

  /**
   * Reports whether a thread may do its next access: false once stopped. Parks it while all are
   * paused.
   */
  mayRun(thread: number): boolean {
    const words = this.#words;
    let phase = Atomics.load(words, PHASE);
    while (phase === Phase.PAUSED) {
      this.#settle(thread, ThreadState.PARKED);
      Atomics.wait(words, PHASE, Phase.PAUSED);
      // Taken back before the phase is read: who pauses again meanwhile, and still finds this thread
      // parked, has changed the phase before, and the thread parks again without an access.
      Atomics.store(words, FIRST_THREAD + thread, ThreadState.RUNNING);
      phase = Atomics.load(words, PHASE);
    }
    return phase !== Phase.STOPPED;
  }

  /** A thread says that it does nothing any more. */
  end(thread: number): void {
    this.#settle(thread, ThreadState.ENDED);
  }

  /**
   * A thread says that it touches memory which may be missing: until it takes that back it does
   * nothing else, and once stopped it touches no more.
   */
  setTouching(thread: number, touching: boolean): void {
    const state = touching ? ThreadState.TOUCHING : ThreadState.RUNNING;
    Atomics.store(this.#words, FIRST_THREAD + thread, state);
  }

  /** Reports whether a thread is touching memory which may be missing. */
  isTouching(thread: number): boolean {
    return Atomics.load(this.#words, FIRST_THREAD + thread) === ThreadState.TOUCHING;
  }

  /** Counts a page that no thread had touched before. */
  countTouched(): void {
    Atomics.add(this.#words, TOUCHED, 1);
  }

  /** Pages that any thread touched. */
  get touched(): number {
    return Atomics.load(this.#words, TOUCHED);
  }

  /** @returns the phase before */
  #change(from: number, to: number): number {
    const before = Atomics.compareExchange(this.#words, PHASE, from, to);
    Atomics.notify(this.#words, PHASE);
    return before;
  }

  #settle(thread: number, state: number): void {
    Atomics.store(this.#words, FIRST_THREAD + thread, state);
    Atomics.add(this.#words, PARKS, 1);
    Atomics.notify(this.#words, PARKS);
  }

  #allParked(): boolean {
    const words = this.#words;
    for (let index = FIRST_THREAD; index < words.length; index++) {
      const state = Atomics.load(words, index);
      if (state !== ThreadState.PARKED && state !== ThreadState.ENDED) return false;
    }
    return true;
  }
}
