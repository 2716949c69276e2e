/** A compression thread's end of the reference model. */

import { Own, ReferenceMemory, Shared } from "./reference_memory.ts";

/** Compresses a page; returns its bytes, or 0 when it is to be sent as it was copied. */
export type CompressPage = (page: number, address: number) => number;

/**
 * Works on one request after the other until told to stop: sleeps on its own condition until one is
 * there, compresses, takes the one lock for all to say that it is done, and signals the dispatcher.
 *
 * @param buffer shared memory of the model
 * @param threads how many there are
 * @param thread which of them this is, from 0
 * @param compress called with no lock held
 */
export function runReferenceThread(
  buffer: SharedArrayBuffer,
  threads: number,
  thread: number,
  compress: CompressPage,
): void {
  const memory = new ReferenceMemory(threads, buffer);
  const { words, numbers, doneMutex, doneCondition } = memory;
  const base = memory.base(thread);
  const mutex = memory.mutexOf(thread);
  const condition = memory.conditionOf(thread);
  try {
    mutex.lock();
    while (Atomics.load(words, Shared.STOPPED) === 0) {
      if (words[base + Own.REQUESTED] === 0) {
        condition.wait(mutex);
        continue;
      }
      words[base + Own.REQUESTED] = 0;
      const page = words[base + Own.PAGE]!;
      const address = numbers[(base + Own.ADDRESS) / 2]!;
      mutex.unlock();
      const bytes = compress(page, address);
      doneMutex.lock();
      words[base + Own.BYTES] = bytes;
      words[base + Own.DONE] = 1;
      doneCondition.signal();
      doneMutex.unlock();
      mutex.lock();
    }
    mutex.unlock();
  } catch (error) {
    // Who waits for this page must not wait for ever.
    doneMutex.lock();
    Atomics.add(words, Shared.FAILED, 1);
    doneCondition.broadcast();
    doneMutex.unlock();
    throw error;
  } finally {
    Atomics.add(words, Shared.ENDED, 1);
    Atomics.notify(words, Shared.ENDED);
  }
}
