/** The dispatcher's end of the reference model: multi-thread compression as it was before the rings. */

import { Own, ReferenceMemory, Shared } from "./reference_memory.ts";
import type { Condition } from "./condition.ts";
import type { Mutex } from "./mutex.ts";

/** Takes what a thread made of the page that it was given last. */
export type TakeOutput = (thread: number, page: number, bytes: number) => void;

/**
 * Gives pages to threads that have room for one each (docs/benchmarks.md, published 2): under the
 * one lock for all it looks for a thread that is done, from the first on; takes that thread's
 * previous output; hands the page over under the thread's own lock and signals it. When no thread is
 * done it sleeps until any says so, or gives up.
 */
export class ReferenceDispatcher {
  readonly #threads: number;
  readonly #memory: ReferenceMemory;
  readonly #mutexes: readonly Mutex[];
  readonly #conditions: readonly Condition[];
  readonly #take: TakeOutput;
  /** By thread: 1 when a page was handed over whose output was not taken. */
  readonly #handed: Uint8Array;
  #outstanding = 0;

  /**
   * @param threads how many there are
   * @param buffer shared memory of the model
   * @param take called for each output, with the lock for all held
   */
  constructor(threads: number, buffer: SharedArrayBuffer, take: TakeOutput) {
    this.#threads = threads;
    const memory = this.#memory = new ReferenceMemory(threads, buffer);
    this.#mutexes = Array.from({ length: threads }, (_, thread) => memory.mutexOf(thread));
    this.#conditions = Array.from({ length: threads }, (_, thread) => memory.conditionOf(thread));
    this.#take = take;
    this.#handed = new Uint8Array(threads);
  }

  /** Pages handed over whose output was not taken. */
  get outstanding(): number {
    return this.#outstanding;
  }

  /**
   * Hands a page over, and takes the output of the thread that gets it: one at most.
   *
   * @param address where it lies
   * @param wait whether to sleep while no thread is done
   * @returns false when none is done and it was not to wait
   * @throws {Error} when a thread has failed
   */
  handOver(page: number, address: number, wait: boolean): boolean {
    const { doneMutex, doneCondition } = this.#memory;
    doneMutex.lock();
    try {
      while (true) {
        const thread = this.#findDone();
        if (thread >= 0) {
          this.#give(thread, page, address);
          return true;
        }
        if (!wait) return false;
        this.#checkThreads();
        doneCondition.wait(doneMutex);
      }
    } finally {
      doneMutex.unlock();
    }
  }

  /**
   * Waits until every thread is done, and takes their outputs while there is room.
   *
   * @param room whether another one fits
   *
   * @throws {Error} when a thread has failed
   */
  flush(room: () => boolean): void {
    const { words, doneMutex, doneCondition } = this.#memory;
    doneMutex.lock();
    try {
      for (let thread = 0; thread < this.#threads; thread++) {
        while (words[this.#memory.base(thread) + Own.DONE] === 0) {
          this.#checkThreads();
          doneCondition.wait(doneMutex);
        }
      }
    } finally {
      doneMutex.unlock();
    }
    for (let thread = 0; thread < this.#threads && room(); thread++) {
      const mutex = this.#mutexes[thread]!;
      mutex.lock();
      this.#takeOutput(thread);
      mutex.unlock();
    }
  }

  /** Ends the threads, and returns when all have ended. */
  stop(): void {
    const { words } = this.#memory;
    Atomics.store(words, Shared.STOPPED, 1);
    for (let thread = 0; thread < this.#threads; thread++) {
      const mutex = this.#mutexes[thread]!;
      mutex.lock(); // so that none is between its look at the flag and its sleep
      this.#conditions[thread]!.signal();
      mutex.unlock();
    }
    while (true) {
      const ended = Atomics.load(words, Shared.ENDED);
      if (ended === this.#threads) return;
      Atomics.wait(words, Shared.ENDED, ended);
    }
  }

  /** The first thread that is done, or -1. */
  #findDone(): number {
    const { words } = this.#memory;
    for (let thread = 0; thread < this.#threads; thread++) {
      if (words[this.#memory.base(thread) + Own.DONE] === 1) return thread;
    }
    return -1;
  }

  #give(thread: number, page: number, address: number): void {
    const { words, numbers } = this.#memory;
    const base = this.#memory.base(thread);
    words[base + Own.DONE] = 0;
    this.#takeOutput(thread);
    const mutex = this.#mutexes[thread]!;
    mutex.lock();
    words[base + Own.PAGE] = page;
    numbers[(base + Own.ADDRESS) / 2] = address;
    words[base + Own.REQUESTED] = 1;
    this.#conditions[thread]!.signal();
    mutex.unlock();
    this.#handed[thread] = 1;
    this.#outstanding++;
  }

  #takeOutput(thread: number): void {
    if (this.#handed[thread] === 0) return;
    this.#handed[thread] = 0;
    this.#outstanding--;
    const base = this.#memory.base(thread);
    const { words } = this.#memory;
    this.#take(thread, words[base + Own.PAGE]!, words[base + Own.BYTES]!);
  }

  /** One that failed will never be done. */
  #checkThreads(): void {
    const failed = Atomics.load(this.#memory.words, Shared.FAILED);
    if (failed > 0) throw new Error(`Threads of the reference model that failed: ${failed}`);
  }
}
