/** Threads that belong to the process and serve the tasks of any number of sessions. */

import { PoolThread, type Served } from "./pool_thread_owner.ts";

/** A kind of task: which threads can run it, and its name there. `I` is its first message, `M` those it sends. */
export interface TaskKind<I, M> {
  /** Module of the threads, which calls `runPoolThread`: threads with one module are one group. */
  readonly thread: URL;
  /** The name under which that module knows it. */
  readonly name: string;
  /** Whether somebody waits for what these threads do: how many there are depends on it. */
  readonly urgent: boolean;
  /** Whether these threads calculate, one a processor; then they are not urgent. Default false. */
  readonly calculates?: boolean;
  /** Types only. */
  readonly _messages?: (init: I) => M;
}

/** How large a pool is. */
export interface ThreadPoolOptions {
  /**
   * Threads of each group that does urgent work: requests are served and faults taken there. Default half
   * the processors, 1 to 4.
   */
  readonly urgentThreads?: number;
  /** Threads of each group that moves what nobody waits for. Default half the processors, 1 to 4. */
  readonly bulkThreads?: number;
  /**
   * Threads of each group that compresses, decompresses or sends channels of multifd, for all sessions together. Default the
   * processors, 1 to 32.
   */
  readonly compressionThreads?: number;
  /** Milliseconds for which threads without a session stay; default 1000. */
  readonly linger?: number;
}

const DEFAULT_LINGER = 1000;
const MOST_BY_DEFAULT = 4;
const MOST_CALCULATING_BY_DEFAULT = 32;
const MOST_THREADS = 255;

/**
 * A session's task on some thread of a pool, seen from its owner: prepared, run, heard and ended. It is
 * told to end through shared memory and an eventfd of the session's, not by messages.
 */
export class PoolTask<I, M> {
  readonly #pool: ThreadPool;
  readonly #kind: TaskKind<I, M>;
  readonly #onMessage: (message: M) => void;
  readonly #settled = Promise.withResolvers<void>();
  #thread: PoolThread | undefined;
  #released: Promise<void> = Promise.resolve();
  #running = false;
  #over = false;

  /** Made by {@linkcode ThreadPool.task}. */
  constructor(pool: ThreadPool, kind: TaskKind<I, M>, onMessage: (message: M) => void) {
    this.#pool = pool;
    this.#kind = kind;
    this.#onMessage = onMessage;
    // Whoever owns the task awaits `ended` at the end; until then a failure is not unhandled.
    this.#settled.promise.catch(() => {});
  }

  /** Sees that a thread is there, and resolves when it has loaded; rejects when it cannot run. */
  prepare(): Promise<void> {
    return this.#place().ready;
  }

  /** Resolves when the task is done, and rejects with what it threw, or why its thread ended. */
  get ended(): Promise<void> {
    return this.#settled.promise;
  }

  /** True when it has ended, or failed. */
  get over(): boolean {
    return this.#over;
  }

  /** Runs the task, once, with a structured clone of `init`. */
  run(init: I): void {
    const thread = this.#place();
    if (this.#over) return;
    this.#running = true;
    const id = this.#pool.nextId();
    thread.tasks.set(id, this as Served);
    thread.open(id, this.#kind.name, init);
  }

  /**
   * Waits until the task has ended, however it did, and its thread, where nobody else wants it. A task that
   * never ran ends at once; one that runs must have been told to stop.
   */
  async join(): Promise<void> {
    if (!this.#running) this.end();
    await this.ended.catch(() => {});
    await this.#released;
  }

  /** The thread reports: a message. */
  hear(message: M): void {
    this.#onMessage(message);
  }

  /** The thread reports: it is done. */
  end(): void {
    this.#finish();
    this.#settled.resolve();
  }

  /** The thread reports: it failed, or its thread did. */
  fail(error: Error): void {
    this.#finish();
    this.#settled.reject(error);
  }

  #place(): PoolThread {
    const before = this.#thread;
    if (before !== undefined && !before.isDead) return before;
    const thread = this.#pool.take(this.#kind);
    // The thread that it was prepared on has died of another's task.
    if (before !== undefined) this.#pool.give(before);
    this.#thread = thread;
    return thread;
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    if (this.#thread !== undefined) this.#released = this.#pool.give(this.#thread);
  }
}

/** What a kind of task says of its threads. */
type ThreadsWanted = Pick<TaskKind<unknown, unknown>, "thread" | "urgent" | "calculates">;

interface Group {
  readonly limit: number;
  readonly threads: PoolThread[];
}

/**
 * Threads that sessions share. They are started when the first session needs them and as far as there are
 * sessions, stay for a while when there is none, and end with the pool. A thread that dies takes the tasks
 * that it had to a defined end, and is replaced when the next task needs one.
 *
 * @example
 * ```ts
 * import { ThreadPool } from "./thread_pool.ts";
 *
 * await using pool = new ThreadPool({ urgentThreads: 2, bulkThreads: 1 });
 * console.log(pool.threads); // 0: nothing needs one yet
 * ```
 */
export class ThreadPool implements AsyncDisposable {
  static #shared: ThreadPool | undefined;
  /** Milliseconds for which threads without a session stay. */
  linger: number;
  readonly #urgentThreads: number;
  readonly #bulkThreads: number;
  readonly #compressionThreads: number;
  readonly #groups = new Map<string, Group>();
  readonly #users = new Map<PoolThread, number>();
  #lastId = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * Makes a pool; it has no thread yet.
   *
   * @param options how large it is
   * @throws {RangeError} for a number of threads that cannot be
   */
  constructor(options: ThreadPoolOptions = {}) {
    const processors = navigator.hardwareConcurrency;
    const half = Math.min(MOST_BY_DEFAULT, Math.max(1, Math.floor(processors / 2)));
    const all = Math.min(MOST_CALCULATING_BY_DEFAULT, Math.max(1, processors));
    this.#urgentThreads = checkThreads("urgentThreads", options.urgentThreads ?? half);
    this.#bulkThreads = checkThreads("bulkThreads", options.bulkThreads ?? half);
    this.#compressionThreads = checkThreads(
      "compressionThreads",
      options.compressionThreads ?? all,
    );
    this.linger = options.linger ?? DEFAULT_LINGER;
  }

  /** The pool of everybody who has none of their own. */
  static get shared(): ThreadPool {
    this.#shared ??= new ThreadPool();
    return this.#shared;
  }

  /** Threads there are now. */
  get threads(): number {
    return this.#users.size;
  }

  /**
   * Makes a task; it costs no thread before it is prepared or run.
   *
   * @internal
   */
  task<I, M>(kind: TaskKind<I, M>, onMessage: (message: M) => void = () => {}): PoolTask<I, M> {
    return new PoolTask(this, kind, onMessage);
  }

  /** Ends all threads without a task, now instead of after a while. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#stopIdle();
  }

  /** Closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * For tests: the threads of a group die at their next turn, with all of their tasks.
   *
   * @internal
   */
  kill(entry: URL): void {
    for (const thread of this.#groups.get(entry.href)?.threads ?? []) thread.kill();
  }

  /**
   * For tasks: the next number of one.
   *
   * @internal
   */
  nextId(): number {
    return ++this.#lastId;
  }

  /**
   * For tasks: the thread of a group that has least to do; a new one as long as the group may grow.
   *
   * @internal
   */
  take(kind: ThreadsWanted): PoolThread {
    const group = this.#group(kind);
    let least: PoolThread | undefined;
    for (const thread of group.threads) {
      if (least === undefined || this.#users.get(thread)! < this.#users.get(least)!) least = thread;
    }
    if (
      least === undefined || (this.#users.get(least)! > 0 && group.threads.length < group.limit)
    ) {
      least = new PoolThread(kind.thread, (dead) => this.#forget(group, dead));
      group.threads.push(least);
      this.#users.set(least, 0);
    }
    this.#users.set(least, this.#users.get(least)! + 1);
    return least;
  }

  /**
   * For tasks: gives a thread back. Resolves at once, or when it has ended because nobody else wants it.
   *
   * @internal
   */
  give(thread: PoolThread): Promise<void> {
    const users = this.#users.get(thread);
    if (users === undefined) return Promise.resolve();
    this.#users.set(thread, users - 1);
    if (users > 1) return Promise.resolve();
    clearTimeout(this.#timer);
    if (this.linger === 0) return this.#stopIdle();
    this.#timer = setTimeout(() => this.#stopIdle(), this.linger);
    return Promise.resolve();
  }

  async #stopIdle(): Promise<void> {
    const ending: Promise<void>[] = [];
    for (const group of this.#groups.values()) {
      for (const thread of [...group.threads]) {
        if (this.#users.get(thread)! > 0) continue;
        this.#forget(group, thread);
        ending.push(thread.stop());
      }
    }
    await Promise.all(ending);
  }

  #group({ thread, urgent, calculates = false }: ThreadsWanted): Group {
    let group = this.#groups.get(thread.href);
    if (group === undefined) {
      const limit = calculates
        ? this.#compressionThreads
        : urgent
        ? this.#urgentThreads
        : this.#bulkThreads;
      group = { limit, threads: [] };
      this.#groups.set(thread.href, group);
    }
    return group;
  }

  #forget(group: Group, thread: PoolThread): void {
    const index = group.threads.indexOf(thread);
    if (index >= 0) group.threads.splice(index, 1);
    this.#users.delete(thread);
  }
}

function checkThreads(name: string, count: number): number {
  if (Number.isInteger(count) && count >= 1 && count <= MOST_THREADS) return count;
  throw new RangeError(`Threads of a pool are 1 to ${MOST_THREADS}: ${name} ${count}`);
}
