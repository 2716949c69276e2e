/** The threads of a workload, seen from the main thread. */

import type { TestPattern } from "./test_pattern.ts";
import { WorkerThread } from "../migration/threads/worker_thread.ts";
import type { AccessJob } from "./access_thread.ts";
import { Control } from "./control.ts";
import type { PageRange } from "./guest_pages.ts";
import type { WorkloadSettings } from "./options.ts";
import type { SharedPages } from "./shared_pages.ts";
import { ThreadRecord } from "./thread_record.ts";
import type { WrongByte } from "./written_page.ts";

const ACCESS_WORKER = new URL("./access_worker.ts", import.meta.url);

/**
 * A stopped thread that is seen touching a page so many times in a row, so many milliseconds apart,
 * is held on it: one that is not held has microseconds to go.
 */
const HELD_TIMES = 25;
const HELD_INTERVAL = 10;

/** What a workload did until now. */
export interface WorkloadStatistics {
  /** Pages of memory; 0 before the guest is loaded. */
  readonly pages: number;
  /** Pages touched by any thread. */
  readonly touched: number;
  /** Accesses of all threads. */
  readonly accesses: number;
  /** First touches that waited for their page. */
  readonly waits: number;
  /** Their mean latency in nanoseconds, 0 without any. */
  readonly meanWait: number;
  /** The longest, in nanoseconds. */
  readonly longestWait: number;
  /** Their counts by power of two: bucket N holds 2^N us to 2^(N+1) us. */
  readonly waitBuckets: readonly number[];
  /** The wrong bytes that threads read, one a thread; the first stops all of them. */
  readonly failures: readonly WrongByte[];
}

/** What the threads work on: memory that stays mapped while they run. */
export interface CrewMemory {
  /** What it was made from. */
  readonly pattern: TestPattern;
  /** Where it is. */
  readonly ranges: readonly PageRange[];
  /** What is known of its pages. */
  readonly pages: SharedPages;
}

/** Threads that access memory. They are given it once, then started; each ends once. */
export class Crew {
  readonly #settings: WorkloadSettings;
  readonly #control: Control;
  readonly #records: readonly ThreadRecord[];
  readonly #threads: readonly WorkerThread<AccessJob, never>[];
  readonly #running = new Set<number>();
  readonly #ended = Promise.withResolvers<void>();
  #pages = 0;

  /** Starts the threads, which wait for their memory. */
  constructor(settings: WorkloadSettings) {
    const { threads, samples } = settings;
    this.#settings = settings;
    this.#control = new Control(threads);
    this.#records = Array.from({ length: threads }, () => new ThreadRecord(samples));
    this.#threads = this.#records.map(() => new WorkerThread<AccessJob, never>(ACCESS_WORKER));
    this.#ended.promise.catch(() => {}); // whoever waits for it sees it
  }

  /** Resolves when all threads have loaded their code: some 20 ms after they were made. */
  get ready(): Promise<void> {
    return Promise.all(this.#threads.map((thread) => thread.ready)).then(() => {});
  }

  /**
   * Resolves when all threads ended by themselves or were stopped; rejects when one broke down. A
   * wrong byte stops all of them and is found in the statistics.
   */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Gives every thread its work; none begins before {@linkcode Crew.start}. */
  give(memory: CrewMemory): void {
    this.#pages = memory.ranges.reduce((sum, range) => sum + range.pages, 0);
    this.#run(memory);
  }

  /** Lets the threads run. */
  start(): void {
    this.#control.start();
  }

  /** Pauses the threads; resolves when none is in the midst of an access. */
  pause(): Promise<void> {
    return this.#control.pause();
  }

  /** Lets threads that were paused run on. */
  resume(): void {
    this.#control.resume();
  }

  /** Stops the threads, at once for those that do not wait for a page, and waits until all ended. */
  async halt(): Promise<void> {
    this.#control.stop();
    await this.#giveBack();
    await this.#ended.promise;
  }

  /**
   * Stops the threads and gives them back. Waits until all ended, or wait for a page that does not
   * come: such a thread stays until the process ends or its page is placed, then ends without
   * another access. Stopping again does nothing.
   */
  async stop(): Promise<void> {
    this.#control.stop();
    await this.#giveBack();
    const { promise: held, resolve } = Promise.withResolvers<void>();
    let times = 0;
    const timer = setInterval(() => {
      times = this.#allHeld() ? times + 1 : 0;
      if (times === HELD_TIMES) resolve();
    }, HELD_INTERVAL);
    try {
      // A thread's breakdown is reported by `ended`.
      await Promise.race([this.#ended.promise.catch(() => {}), held]);
    } finally {
      clearInterval(timer);
    }
  }

  /** Accesses of all threads until now. */
  get accesses(): number {
    return this.#records.reduce((sum, { accesses }) => sum + accesses, 0);
  }

  /** What the threads did until now. */
  statistics(): WorkloadStatistics {
    const records = this.#records;
    const waitBuckets: number[] = [];
    let waits = 0;
    let waited = 0;
    let longestWait = 0;
    for (const { histogram } of records) {
      waits += histogram.count;
      waited += histogram.count * histogram.mean;
      longestWait = Math.max(longestWait, histogram.longest);
      histogram.buckets().forEach((count, bucket) =>
        waitBuckets[bucket] = (waitBuckets[bucket] ?? 0) + count
      );
    }
    return {
      pages: this.#pages,
      touched: this.#control.touched,
      accesses: this.accesses,
      waits,
      meanWait: waits === 0 ? 0 : waited / waits,
      longestWait,
      waitBuckets,
      failures: records.map(({ failure }) => failure).filter((failure) => failure !== undefined),
    };
  }

  /** All latencies kept one by one, in nanoseconds, ascending. */
  latencies(): Float64Array {
    const parts = this.#records.map(({ samples }) => samples);
    const all = new Float64Array(parts.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return all.sort();
  }

  /** Ends threads that never got work. */
  async #giveBack(): Promise<void> {
    if (this.#pages !== 0) return;
    await Promise.all(this.#threads.map((thread) => thread.join()));
    this.#ended.resolve();
  }

  /** Lets the threads wait for the start, and notices when all have ended. */
  async #run(memory: CrewMemory): Promise<void> {
    const runs = this.#threads.map(async (thread, index) => {
      this.#running.add(index);
      try {
        thread.run(this.#accessJob(index, memory));
        await thread.ended;
      } catch (error) {
        this.#control.stop(); // a guest that lost a thread has crashed
        throw error;
      } finally {
        this.#running.delete(index);
      }
    });
    const outcomes = await Promise.allSettled(runs);
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    if (failed === undefined) this.#ended.resolve();
    else this.#ended.reject(failed.reason);
  }

  #allHeld(): boolean {
    return this.#running.values().every((index) => this.#control.isTouching(index));
  }

  #accessJob(thread: number, { pattern, ranges, pages }: CrewMemory): AccessJob {
    return {
      thread,
      settings: this.#settings,
      pattern: pattern.settings,
      ranges,
      control: this.#control.buffer,
      pages: pages.buffers,
      record: this.#records[thread]!.buffers,
    };
  }
}
