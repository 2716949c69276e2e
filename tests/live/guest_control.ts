/** Pausing and ending the threads of a test's guest. */

const PHASE = 0;
const PARKED = 1;
const WRITES = 2;
const RUN = 0;
const PAUSE = 1;
const END = 2;

/** Shared memory between a guest's threads and whoever stops them. */
export class GuestControl {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(64)) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
  }

  /** Writes until now. */
  get writes(): number {
    return Atomics.load(this.#words, WRITES);
  }

  /** Thread: parks while paused; false when it is to end. Called before each write. */
  mayRun(): boolean {
    const words = this.#words;
    Atomics.add(words, WRITES, 1);
    if (Atomics.load(words, PHASE) === RUN) return true;
    Atomics.add(words, PARKED, 1);
    Atomics.notify(words, PARKED);
    while (Atomics.load(words, PHASE) === PAUSE) Atomics.wait(words, PHASE, PAUSE);
    Atomics.sub(words, PARKED, 1);
    return Atomics.load(words, PHASE) === RUN;
  }

  /** Thread: waits for a millisecond, or until something changes. */
  nap(): void {
    Atomics.wait(this.#words, PHASE, RUN, 1);
  }

  /** Pauses `threads` threads and waits until each stands still. */
  async pause(threads: number): Promise<void> {
    Atomics.store(this.#words, PHASE, PAUSE);
    Atomics.notify(this.#words, PHASE);
    while (true) {
      const parked = Atomics.load(this.#words, PARKED);
      if (parked === threads) return;
      await Atomics.waitAsync(this.#words, PARKED, parked).value;
    }
  }

  /** Lets them go on. */
  resume(): void {
    Atomics.store(this.#words, PHASE, RUN);
    Atomics.notify(this.#words, PHASE);
  }

  /** Ends them. */
  end(): void {
    Atomics.store(this.#words, PHASE, END);
    Atomics.notify(this.#words, PHASE);
  }
}
