/** Tasks whose thread is there before they are needed. */

import type { PoolTask, TaskKind, ThreadPool } from "../../migration/threads/thread_pool.ts";

/**
 * Makes tasks of a kind, and keeps one ready for the next who comes: a thread takes 100 ms to start, for which a
 * process would wait. There is one thread more than sessions need, where the pool may have it.
 */
export class SpareTask<I, M> {
  readonly #pool: ThreadPool;
  readonly #kind: TaskKind<I, M>;
  #spare: Spare<I, M> | undefined;
  #closed = false;

  constructor(pool: ThreadPool, kind: TaskKind<I, M>) {
    this.#pool = pool;
    this.#kind = kind;
  }

  /** Resolves when one is ready; rejects when its thread cannot run. */
  async prepare(): Promise<void> {
    this.#spare ??= this.#make();
    await this.#spare.task.prepare();
  }

  /** Gives one out, ready or not, and prepares another. */
  take(hear: (message: M) => void): PoolTask<I, M> {
    const spare = this.#spare ?? this.#make();
    spare.hear = hear;
    this.#spare = undefined;
    // One that fails does so again when it is run, and is heard of then.
    if (!this.#closed) this.prepare().catch(() => {});
    return spare.task;
  }

  /** Gives back the thread of the one that nobody took. */
  async close(): Promise<void> {
    this.#closed = true;
    const spare = this.#spare;
    this.#spare = undefined;
    await spare?.task.join();
  }

  #make(): Spare<I, M> {
    const task = this.#pool.task(this.#kind, (message) => spare.hear(message));
    const spare: Spare<I, M> = { task, hear: () => {} };
    return spare;
  }
}

interface Spare<I, M> {
  readonly task: PoolTask<I, M>;
  /** Where its messages go: to whoever took it. */
  hear: (message: M) => void;
}
