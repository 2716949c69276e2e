/** A mutex in shared memory, as the C library makes one of a futex. */

const FREE = 0;
const LOCKED = 1;
/** Locked, and somebody may sleep for it. */
const CONTENDED = 2;

/**
 * A mutex that threads share by its memory. It costs one atomic operation to lock and one to unlock
 * when nobody else wants it; else the thread sleeps in the kernel and does not spin before, as with
 * pthread's default mutex. Who unlocks wakes one sleeper and never hands over: whoever comes first
 * has it. The three states are those of Ulrich Drepper, "Futexes are tricky", section 5.
 */
export class Mutex {
  /** 32-bit words of shared memory that a mutex takes; zeros are a free one. */
  static readonly WORDS: number = 1;

  readonly #words: Int32Array;
  readonly #at: number;

  /**
   * @param words view of a SharedArrayBuffer
   * @param at index of the mutex's word
   */
  constructor(words: Int32Array, at: number) {
    this.#words = words;
    this.#at = at;
  }

  /** Waits until this thread has it. It is not recursive. */
  lock(): void {
    const words = this.#words;
    const at = this.#at;
    let found = Atomics.compareExchange(words, at, FREE, LOCKED);
    if (found === FREE) return;
    // From now on whoever unlocks has to wake somebody. A sleeper that was woken cannot know whether
    // it was the last, so it takes the mutex as contended: at worst one wake-up finds nobody.
    if (found !== CONTENDED) found = Atomics.exchange(words, at, CONTENDED);
    while (found !== FREE) {
      Atomics.wait(words, at, CONTENDED);
      found = Atomics.exchange(words, at, CONTENDED);
    }
  }

  /** Gives it back; only the thread that has it may. */
  unlock(): void {
    // Freed first: a thread that comes now takes it, and the one that is woken sleeps again.
    if (Atomics.exchange(this.#words, this.#at, FREE) === CONTENDED) {
      Atomics.notify(this.#words, this.#at, 1);
    }
  }
}
