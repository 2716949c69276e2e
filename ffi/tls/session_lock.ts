/** The lock of a TLS session that several threads use. */

import { futexWait, futexWake } from "../futex.ts";
import { addressOf } from "../memory.ts";
import { TlsError } from "./tls_error.ts";

// Words of the lock.
const NEXT = 0;
const SERVED = 1;
const ABANDONED = 2;
/** 32-bit words that a lock takes, at the start of its memory. */
export const LOCK_WORDS = 3;

/**
 * Looks before a thread sleeps: some 30 us, longer than the one call of 10 to 20 us that the lock is
 * held for. Waking a sleeper takes 7 to 70 us.
 */
const LOOKS = 3000;
/** Milliseconds of one sleep, and how many: all of this process may be stopped during any one of them. */
const SLEEP = 1000;
const SLEEPS = 20;

/**
 * A lock in shared memory, held for one call of the library's. Whoever asks first is served first: with
 * a lock that the fastest takes, a thread that sends without a pause would keep out the one that hears
 * requests for pages.
 */
export class SessionLock {
  readonly #words: Int32Array<ArrayBuffer>;
  /** Address of the word that those who wait sleep on; held beside its owner. */
  readonly #served: bigint;
  readonly #sleeps: number;

  /**
   * @param words the same memory in every thread, zero at first, at least {@linkcode LOCK_WORDS} long; native
   * memory or any other that does not move
   * @param sleeps seconds after which whoever holds it is taken for dead
   */
  constructor(words: Int32Array<ArrayBuffer>, sleeps: number = SLEEPS) {
    this.#words = words;
    this.#served = BigInt(addressOf(words) + SERVED * words.BYTES_PER_ELEMENT);
    this.#sleeps = sleeps;
  }

  /**
   * Takes the lock.
   *
   * @throws {TlsError} when a thread has died that held it
   */
  acquire(): void {
    const words = this.#words;
    const mine = Atomics.add(words, NEXT, 1);
    for (let look = 0; look < LOOKS; look++) {
      if (Atomics.load(words, SERVED) === mine) return;
    }
    for (let sleep = 0; sleep < this.#sleeps && Atomics.load(words, ABANDONED) === 0;) {
      const served = Atomics.load(words, SERVED);
      if (served === mine) return;
      if (!futexWait(this.#served, served, SLEEP)) sleep++;
    }
    // Nobody after this one is served any more.
    Atomics.store(words, ABANDONED, 1);
    throw new TlsError("PROTOCOL", "A thread of this program died while it used a TLS session");
  }

  /** Gives it to whoever comes next. */
  release(): void {
    const words = this.#words;
    const served = Atomics.add(words, SERVED, 1) + 1;
    if (Atomics.load(words, NEXT) !== (served | 0)) futexWake(this.#served);
  }
}
