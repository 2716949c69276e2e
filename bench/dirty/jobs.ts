/** The threads of the dirty tracking benchmark: what each is asked to do, and what it tells. */

import { WorkerThread } from "../../migration/threads/worker_thread.ts";
import type { DirtyTrackerInit } from "../../server/live/dirty_tracker.ts";

/** Bytes of a page. */
export const PAGE_BYTES = 4096;

/** In which order a writer goes through the pages. */
export type WriteOrder = "sequential" | "random";

/** Writes for a while, as fast as it can. */
export interface WriteJob {
  readonly name: "write";
  readonly address: number;
  readonly pages: number;
  readonly order: WriteOrder;
  readonly milliseconds: number;
  /** CPU it is pinned to; -1 for none. */
  readonly cpu: number;
}

/** Collects at an interval until word 0 of `end` is not 0. */
export interface CollectJob {
  readonly name: "collect";
  readonly tracker: DirtyTrackerInit;
  readonly pages: number;
  readonly milliseconds: number;
  readonly end: SharedArrayBuffer;
  readonly cpu: number;
}

/** Writes once to every page, again and again, in this thread alone; with a collect after each pass. */
export interface PassJob {
  readonly name: "pass";
  readonly address: number;
  readonly pages: number;
  readonly order: WriteOrder;
  readonly passes: number;
  readonly cpu: number;
}

/** Nanoseconds a write, by batch of writes. */
export interface Passes {
  /** Without tracking. */
  readonly off: Float64Array;
  /** Each page for the first time since it was protected. */
  readonly on: Float64Array;
  /** The first pass after tracking was stopped. */
  readonly stopped: Float64Array;
}

/** What a thread does. */
export type DirtyJob = WriteJob | CollectJob | PassJob;

/** What a thread tells: that it tracks now, or its figures. */
export type DirtyReport =
  | { readonly name: "tracking" }
  /** Nanoseconds a write by batch; or nanoseconds by collect. */
  | { readonly name: "samples"; readonly samples: Float64Array }
  | { readonly name: "passes"; readonly passes: Passes };

/** A thread of the benchmark. */
export class DirtyThread {
  readonly #tracking = Promise.withResolvers<void>();
  readonly #thread: WorkerThread<DirtyJob, DirtyReport>;
  #report: DirtyReport | undefined;

  /** Starts the thread. */
  constructor(job: DirtyJob) {
    this.#thread = new WorkerThread(new URL("dirty_worker.ts", import.meta.url), (report) => {
      if (report.name === "tracking") this.#tracking.resolve();
      else this.#report = report;
    });
    this.#thread.ended.catch(this.#tracking.reject);
    this.#tracking.promise.catch(() => {});
    this.#thread.run(job);
  }

  /** Resolves when a collector tracks; rejects when it cannot. */
  get tracking(): Promise<void> {
    return this.#tracking.promise;
  }

  /** Waits until the job is done and returns its samples. */
  async samples(): Promise<Float64Array> {
    await this.#thread.ended;
    if (this.#report?.name !== "samples") throw new Error("Thread told no samples");
    return this.#report.samples;
  }

  /** Waits until the job is done and returns its passes. */
  async passes(): Promise<Passes> {
    await this.#thread.ended;
    if (this.#report?.name !== "passes") throw new Error("Thread told no passes");
    return this.#report.passes;
  }
}
