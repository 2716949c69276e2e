/** What the threads of the stress of the benchmark's mutex and condition do. */

import { Condition } from "../../bench/compress/condition.ts";
import { Mutex } from "../../bench/compress/mutex.ts";

/** Words of the shared memory. */
export const Word = {
  MUTEX: 0,
  CHANGED: 16,
  FILLED: 24,
  COUNT: 32,
  /** Threads between `lock` and `unlock`. */
  INSIDE: 48,
  OVERLAPS: 49,
  TAKEN: 64,
} as const;

/** What to do how often. */
export interface LockJob {
  readonly name: "count" | "put" | "take";
  readonly buffer: SharedArrayBuffer;
  readonly times: number;
}

/** Entries that the bounded buffer holds: few, so that both sides sleep. */
const ROOM = 2;

function countUp(words: Int32Array, times: number): void {
  const mutex = new Mutex(words, Word.MUTEX);
  for (let time = 0; time < times; time++) {
    mutex.lock();
    if (Atomics.add(words, Word.INSIDE, 1) !== 0) Atomics.add(words, Word.OVERLAPS, 1);
    // Two steps that another thread may come between, unless the mutex keeps it out.
    words[Word.COUNT]!++;
    Atomics.sub(words, Word.INSIDE, 1);
    mutex.unlock();
  }
}

function putAll(words: Int32Array, times: number): void {
  const mutex = new Mutex(words, Word.MUTEX);
  const taken = new Condition(words, Word.CHANGED);
  const filled = new Condition(words, Word.FILLED);
  for (let time = 0; time < times; time++) {
    mutex.lock();
    while (words[Word.COUNT] === ROOM) taken.wait(mutex);
    words[Word.COUNT]!++;
    filled.signal();
    mutex.unlock();
  }
}

function takeAll(words: Int32Array, times: number): void {
  const mutex = new Mutex(words, Word.MUTEX);
  const taken = new Condition(words, Word.CHANGED);
  const filled = new Condition(words, Word.FILLED);
  for (let time = 0; time < times; time++) {
    mutex.lock();
    while (words[Word.COUNT] === 0) filled.wait(mutex);
    words[Word.COUNT]!--;
    words[Word.TAKEN]!++;
    taken.signal();
    mutex.unlock();
  }
}

/** Does a job on this thread. */
export function doLockJob({ name, buffer, times }: LockJob): void {
  const words = new Int32Array(buffer);
  if (name === "count") countUp(words, times);
  else if (name === "put") putAll(words, times);
  else takeAll(words, times);
}
