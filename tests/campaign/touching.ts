/** Threads of guests that touch memory as it arrives; they serve one run after the other. */

import type { GuestBlock } from "../../migration/memory/guest_block.ts";
import { within } from "../support/deadline.ts";

/** Where what is in the record. */
export const TouchWord = { END: 0, WRONG: 1, TOUCHED: 2 } as const;

/** What a thread touches: the pages whose number is its own modulo the threads. */
export interface TouchJob {
  readonly seed: number;
  readonly thread: number;
  readonly threads: number;
  readonly blocks: readonly { readonly address: number; readonly length: number }[];
  /** What the memory must be; a thread that writes writes here too. */
  readonly expected: SharedArrayBuffer;
  readonly record: SharedArrayBuffer;
  readonly writes: boolean;
}

/** The threads of one run's guest. */
export class Touching {
  readonly #record = new Int32Array(new SharedArrayBuffer(16));
  readonly #done: Promise<unknown>[] = [];

  /** Waits until the threads stand still: all that they wait for has come. */
  async stop(): Promise<void> {
    Atomics.store(this.#record, TouchWord.END, 1);
    Atomics.notify(this.#record, TouchWord.END);
    await within("the threads to get what they touched", Promise.all(this.#done), 20_000);
  }

  /** Pages touched. */
  get touched(): number {
    return Atomics.load(this.#record, TouchWord.TOUCHED);
  }

  /** A page that was not what it must be, when it was touched. */
  get wrong(): number | undefined {
    const word = Atomics.load(this.#record, TouchWord.WRONG);
    return word === 0 ? undefined : word - 1;
  }

  /** Has threads touch. */
  start(
    workers: readonly Worker[],
    blocks: readonly GuestBlock[],
    expected: SharedArrayBuffer,
    { seed, writes }: { readonly seed: number; readonly writes: boolean },
  ): void {
    workers.forEach((worker, thread) => {
      this.#done.push(new Promise((resolve) => worker.onmessage = resolve));
      const job: TouchJob = {
        seed,
        thread,
        threads: workers.length,
        blocks: blocks.map(({ address, length }) => ({ address, length })),
        expected,
        record: this.#record.buffer as SharedArrayBuffer,
        writes,
      };
      worker.postMessage(job);
    });
  }
}

/** Threads that are there for all runs: to start one takes longer than a run. */
export class TouchThreads implements Disposable {
  #workers: Worker[] = [];

  /** Waits until so many are there: they have opened what they hold. */
  async prepare(count: number): Promise<void> {
    while (this.#workers.length < count) {
      const worker = new Worker(new URL("./touching_worker.ts", import.meta.url), {
        type: "module",
      });
      this.#workers.push(worker);
      await new Promise((resolve) => worker.onmessage = resolve);
    }
  }

  /** Takes some of those that are there. */
  take(count: number): readonly Worker[] {
    return this.#workers.slice(0, count);
  }

  /** Leaves them to their fate: one waits for a page that does not come. */
  abandon(): void {
    this.#workers = [];
  }

  [Symbol.dispose](): void {
    for (const worker of this.#workers) worker.terminate();
  }
}
