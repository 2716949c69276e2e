/** Workers whose loop blocks: started, heard and ended in one way. */

import { type Failure, toFailure, WorkerThreadError } from "./failure.ts";
import type { Tell } from "./task.ts";

/** What a worker thread tells its owner; `M` is the messages of its own. */
type Report<M> =
  | { readonly kind: "ready" }
  | { readonly kind: "message"; readonly message: M }
  | { readonly kind: "failed"; readonly failure: Failure }
  | { readonly kind: "ended" };

/**
 * A worker thread seen from its owner. The thread gets one message, then blocks in its loop: it is
 * told to end through shared memory and an eventfd, not by messages.
 */
export class WorkerThread<I, M> {
  readonly #worker: Worker;
  readonly #loaded = Promise.withResolvers<void>();
  readonly #settled = Promise.withResolvers<void>();
  #started = false;

  /**
   * Starts the thread, which loads its module (some 20 ms) and waits for {@linkcode WorkerThread.run}.
   *
   * @param entry the worker's module, which calls {@linkcode runWorkerThread}
   * @param onMessage called for each message of the thread's own
   */
  constructor(entry: URL, onMessage: (message: M) => void = () => {}) {
    const worker = new Worker(entry, { type: "module" });
    const { promise, resolve, reject } = this.#settled;
    this.#worker = worker;
    worker.onmessage = ({ data }: MessageEvent<Report<M>>) => {
      if (data.kind === "message") return onMessage(data.message);
      if (data.kind === "ready") return this.#loaded.resolve();
      worker.terminate();
      if (data.kind === "ended") resolve();
      else reject(new WorkerThreadError(data.failure));
    };
    worker.onerror = (event) => {
      event.preventDefault();
      worker.terminate();
      const message = `Cannot run worker thread ${entry.pathname}: ${event.message}`;
      reject(
        new WorkerThreadError({
          name: "WorkerThreadError",
          code: "CANNOT_RUN",
          message,
          stack: undefined,
        }),
      );
    };
    promise.then(this.#loaded.resolve, this.#loaded.reject);
    this.#loaded.promise.catch(() => {});
    // Whoever owns the thread awaits `ended` at the end; until then a failure is not unhandled.
    promise.catch(() => {});
  }

  /** Resolves when the thread has loaded its module and can run at once; rejects when it cannot. */
  get ready(): Promise<void> {
    return this.#loaded.promise;
  }

  /** Resolves when the loop has returned, and rejects with what it threw. */
  get ended(): Promise<void> {
    return this.#settled.promise;
  }

  /** Runs the loop, once, with a structured clone of `init`. */
  run(init: I): void {
    this.#started = true;
    this.#worker.postMessage(init);
  }

  /**
   * Waits for the loop to return, however it does; ends the thread at once when it never ran. The
   * loop must have been told to stop.
   */
  async join(): Promise<void> {
    if (!this.#started) {
      this.#worker.terminate();
      this.#settled.resolve();
    }
    await this.ended.catch(() => {});
  }
}

/**
 * Runs a worker thread: waits for the first message, runs the loop, reports how it ended.
 *
 * @param loop blocks until it is done or told to stop
 */
export function runWorkerThread<I, M>(loop: (init: I, tell: Tell<M>) => void): void {
  const scope = self as unknown as {
    onmessage: ((event: MessageEvent<I>) => void) | null;
    postMessage(report: Report<M>): void;
  };
  scope.onmessage = ({ data }) => {
    try {
      loop(data, (message) => scope.postMessage({ kind: "message", message }));
      scope.postMessage({ kind: "ended" });
    } catch (error) {
      scope.postMessage({ kind: "failed", failure: toFailure(error) });
    }
  };
  scope.postMessage({ kind: "ready" });
}
