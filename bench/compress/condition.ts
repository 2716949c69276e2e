/** A condition variable in shared memory, as the C library makes one of a futex. */

import type { Mutex } from "./mutex.ts";

const SEQUENCE = 0;
const WAITERS = 1;

/**
 * A condition that threads share by its memory, always used with the same {@linkcode Mutex} held. A
 * signal with nobody waiting costs no system call. A wait may end without a signal: what is waited
 * for is looked at again.
 */
export class Condition {
  /** 32-bit words of shared memory that a condition takes, zeros at first. */
  static readonly WORDS: number = 2;

  readonly #words: Int32Array;
  readonly #at: number;

  /**
   * @param words view of a SharedArrayBuffer
   * @param at index of the condition's first word
   */
  constructor(words: Int32Array, at: number) {
    this.#words = words;
    this.#at = at;
  }

  /**
   * Gives the mutex back, sleeps until a signal and takes the mutex again.
   *
   * @param mutex held by this thread
   */
  wait(mutex: Mutex): void {
    const words = this.#words;
    const at = this.#at;
    words[at + WAITERS]!++;
    // Read while the mutex is held: a signal between the unlock and the sleep changes it, and the
    // sleep ends at once.
    const sequence = Atomics.load(words, at + SEQUENCE);
    mutex.unlock();
    Atomics.wait(words, at + SEQUENCE, sequence);
    mutex.lock();
  }

  /** Wakes one thread that waits. The mutex must be held. */
  signal(): void {
    const words = this.#words;
    const at = this.#at;
    // Counted down here and not by who wakes up: a second signal until then has nobody to wake. A wait
    // that ended without a signal leaves the count too high, and a later signal is for nobody.
    if (words[at + WAITERS] === 0) return;
    words[at + WAITERS]!--;
    Atomics.add(words, at + SEQUENCE, 1);
    Atomics.notify(words, at + SEQUENCE, 1);
  }

  /** Wakes all threads that wait. The mutex must be held. */
  broadcast(): void {
    const words = this.#words;
    const at = this.#at;
    if (words[at + WAITERS] === 0) return;
    words[at + WAITERS] = 0;
    Atomics.add(words, at + SEQUENCE, 1);
    Atomics.notify(words, at + SEQUENCE);
  }
}
