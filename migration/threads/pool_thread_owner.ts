/** A pool's thread from the outside: started, given tasks, heard, and ended. */

import { Eventfd } from "../../ffi/eventfd.ts";
import { WorkerThreadError } from "./failure.ts";
import type { Order, PoolReport, PoolThreadInit } from "./pool_thread.ts";

/** The owner of a task, who is told what becomes of it. */
export interface Served {
  /** A message of the task. */
  hear(message: unknown): void;
  /** It is done. */
  end(): void;
  /** It failed, or its thread did. */
  fail(error: Error): void;
}

/** One thread, seen from its owner. */
export class PoolThread {
  /** What runs there, by its number. */
  readonly tasks: Map<number, Served> = new Map();
  readonly #entry: URL;
  readonly #worker: Worker;
  readonly #port: MessagePort;
  /** The thread's end, until it has that. */
  readonly #threadsPort: MessagePort;
  readonly #wake = new Eventfd();
  readonly #loaded = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();
  readonly #onDeath: (thread: PoolThread) => void;
  #hasLoaded = false;
  #dead = false;

  /**
   * Starts it.
   *
   * @param entry its module, which calls `runPoolThread`
   * @param onDeath called when it fails, before what it served hears of it
   */
  constructor(entry: URL, onDeath: (thread: PoolThread) => void) {
    this.#entry = entry;
    this.#onDeath = onDeath;
    this.#loaded.promise.catch(() => {});
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.#threadsPort = port2;
    this.#worker = new Worker(entry, { type: "module" });
    this.#worker.onmessage = ({ data }: MessageEvent<PoolReport>) => this.#hear(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#die(event.message);
    };
  }

  /** Resolves when it can run a task at once; rejects when it cannot run. */
  get ready(): Promise<void> {
    return this.#loaded.promise;
  }

  /** Has a task made and run. */
  open(id: number, task: string, init: unknown): void {
    this.#order({ kind: "open", id, task, init });
  }

  /** Ends it; its tasks have ended. Resolves when it is gone. */
  stop(): Promise<void> {
    this.#order({ kind: "stop" });
    return this.#ended.promise;
  }

  /** True when it has died: it can run nothing any more. */
  get isDead(): boolean {
    return this.#dead;
  }

  /**
   * Ends it in the midst of its tasks, for tests of what becomes of them. From inside: a worker that is
   * terminated from outside goes on for seconds.
   */
  kill(): void {
    this.#order({ kind: "die" });
  }

  #order(order: Order): void {
    this.#port.postMessage(order);
    this.#wake.signal();
  }

  #hear(report: PoolReport): void {
    switch (report.kind) {
      case "ready":
        return this.#begin();
      case "stopped":
        return this.#close();
      case "died":
        return this.#die(report.failure.message, report.failure.stack);
      case "message":
        return this.tasks.get(report.id)?.hear(report.message);
      case "ended":
        return this.#take(report.id)?.end();
      case "failed":
        return this.#take(report.id)?.fail(new WorkerThreadError(report.failure));
    }
  }

  /** The thread listens: it is given what orders come by. What was ordered until now waits there. */
  #begin(): void {
    this.#hasLoaded = true;
    const init: PoolThreadInit = { port: this.#threadsPort, wakeFd: this.#wake.fd };
    this.#worker.postMessage(init, [this.#threadsPort]);
    this.#loaded.resolve();
  }

  #take(id: number): Served | undefined {
    const task = this.tasks.get(id);
    this.tasks.delete(id);
    return task;
  }

  #die(why: string, stack?: string): void {
    this.#dead = true;
    const { pathname } = this.#entry;
    const [code, message] = this.#hasLoaded
      ? ["THREAD_DIED", `Worker thread ${pathname} failed, and all that it served with it: ${why}`]
      : ["CANNOT_RUN", `Cannot run worker thread ${pathname}: ${why}`];
    const failure = { name: "WorkerThreadError", code, message, stack };
    const error = new WorkerThreadError(failure);
    this.#loaded.reject(error);
    this.#close();
    this.#onDeath(this);
    for (const task of [...this.tasks.values()]) task.fail(error);
    this.tasks.clear();
  }

  #close(): void {
    this.#worker.terminate();
    this.#port.close();
    if (!this.#hasLoaded) this.#threadsPort.close();
    this.#wake.close();
    this.#ended.resolve();
  }
}
