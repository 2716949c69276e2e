/** The workload guest: threads that use the memory that arrives, and know what it must hold. */

import type { Guest, GuestMemory } from "../guest.ts";
import { PATTERN_PAGE_BYTES } from "../../migration/memory/test_pattern.ts";
import { WorkerThread } from "../../migration/threads/worker_thread.ts";
import type { AccessJob } from "./access_thread.ts";
import { type CheckJob, type CheckResult, joinChecks } from "./check.ts";
import { parseWorkloadState, type WorkloadState } from "./device_state.ts";
import type { PageRange } from "./guest_pages.ts";
import { type WorkloadOptions, type WorkloadSettings, workloadSettings } from "./options.ts";
import { Control, SharedPages, ThreadRecord } from "./shared_state.ts";
import { WorkloadError } from "./workload_error.ts";
import type { WrongByte } from "./written_page.ts";

const ACCESS_WORKER = new URL("./access_worker.ts", import.meta.url);
const CHECK_WORKER = new URL("./check_worker.ts", import.meta.url);

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

interface Loaded {
  readonly state: WorkloadState;
  readonly ranges: readonly PageRange[];
  readonly pages: SharedPages;
}

/**
 * A guest whose threads read or write all its memory and check what they read. It is loaded from an
 * image of {@linkcode writeWorkloadImage}.
 *
 * Threads touch memory in user mode alone, so that an unprivileged user's userfaultfd serves them. A
 * thread that waits for its page cannot be stopped; see {@linkcode WorkloadGuest.stop}. What a thread
 * reads after the stop is not checked.
 *
 * @example
 * ```ts ignore
 * const guest = new WorkloadGuest({ threads: 4, write: true });
 * await using destination = new Destination({ guest });
 * // ... once the migration is complete:
 * await guest.halt();
 * const { wrongPages } = await guest.check();
 * ```
 */
export class WorkloadGuest implements Guest {
  readonly #settings: WorkloadSettings;
  readonly #control: Control;
  readonly #records: readonly ThreadRecord[];
  readonly #threads: readonly WorkerThread<AccessJob, never>[];
  readonly #running = new Set<number>();
  readonly #ended = Promise.withResolvers<void>();
  #loaded: Loaded | undefined;

  /**
   * Starts the threads, which wait until the guest is loaded and started.
   *
   * @param options what to do with the memory
   * @throws {RangeError} for a setting out of its range
   */
  constructor(options: WorkloadOptions = {}) {
    this.#settings = workloadSettings(options);
    const { threads, samples } = this.#settings;
    this.#control = new Control(threads);
    this.#records = Array.from({ length: threads }, () => new ThreadRecord(samples));
    this.#threads = this.#records.map(() => new WorkerThread<AccessJob, never>(ACCESS_WORKER));
    this.#ended.promise.catch(() => {}); // whoever waits for it sees it
  }

  /** Resolves when all threads have loaded their code: some 20 ms after the guest was made. */
  get ready(): Promise<void> {
    return Promise.all(this.#threads.map((thread) => thread.ready)).then(() => {});
  }

  /**
   * Takes the device state and gives every thread its work. Touches no memory.
   *
   * @throws {WorkloadError} when it is not a workload guest's, or the memory is of another size
   */
  load(deviceState: Uint8Array, memory: GuestMemory): void {
    const state = parseWorkloadState(deviceState);
    const ranges = memory.blocks.map(({ address, length }) => ({
      address,
      pages: length / PATTERN_PAGE_BYTES,
    }));
    const pages = ranges.reduce((sum, range) => sum + range.pages, 0);
    if (pages !== state.pages) {
      throw new WorkloadError(
        "WRONG_MEMORY",
        `Image of a workload guest with ${state.pages} pages came with memory of: ${pages} pages`,
      );
    }
    const { seed } = this.#settings;
    if (seed !== undefined && seed !== state.seed) {
      throw new WorkloadError(
        "WRONG_SEED",
        `Image was made with another seed than ${seed}: ${state.seed}`,
      );
    }
    const loaded = { state, ranges, pages: new SharedPages(pages) };
    this.#loaded = loaded;
    this.#run(loaded);
  }

  /** Lets the threads run. */
  start(): void {
    this.#control.start();
  }

  /**
   * Resolves when all threads ended by themselves or were stopped; rejects when one broke down. A
   * wrong byte stops all of them and is found in the statistics.
   */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /**
   * Stops the threads, at once for those that do not wait for a page, and waits until all ended.
   * The guest can be checked from then on.
   */
  async halt(): Promise<void> {
    this.#control.stop();
    if (this.#loaded === undefined) this.#ended.resolve();
    await this.#ended.promise;
  }

  /**
   * Stops the threads and gives them back. Waits until all ended, or wait for a page that does not
   * come: such a thread stays until the process ends or its page is placed, then ends without
   * another access. Stopping again does nothing.
   */
  async stop(): Promise<void> {
    this.#control.stop();
    if (this.#loaded === undefined) {
      await Promise.all(this.#threads.map((thread) => thread.join()));
      this.#ended.resolve();
    }
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

  /**
   * Checks every byte of the memory, on several threads; waits for pages that are missing. The
   * guest's threads must have ended.
   *
   * @throws {Error} when the guest was not loaded
   */
  async check(): Promise<CheckResult> {
    if (this.#loaded === undefined) throw new Error("Guest is not loaded: nothing to check");
    const { state, ranges, pages } = this.#loaded;
    const { seed, zeroEvery } = state;
    const threads = Math.min(navigator.hardwareConcurrency, state.pages);
    const limit = (part: number): number => Math.floor(state.pages * part / threads);
    const results = Array.from({ length: threads }, (_, part) =>
      checkPart({
        pattern: { seed, zeroEvery },
        ranges,
        writes: pages.buffers.writes,
        from: limit(part),
        to: limit(part + 1),
      }));
    return joinChecks(await Promise.all(results));
  }

  /** What the threads did until now. */
  statistics(): WorkloadStatistics {
    const records = this.#records;
    const waitBuckets: number[] = [];
    let accesses = 0;
    let waits = 0;
    let waited = 0;
    let longestWait = 0;
    for (const { accesses: count, histogram } of records) {
      accesses += count;
      waits += histogram.count;
      waited += histogram.count * histogram.mean;
      longestWait = Math.max(longestWait, histogram.longest);
      histogram.buckets().forEach((count, bucket) =>
        waitBuckets[bucket] = (waitBuckets[bucket] ?? 0) + count
      );
    }
    return {
      pages: this.#loaded?.state.pages ?? 0,
      touched: this.#control.touched,
      accesses,
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

  /** Lets the threads wait for the start, and notices when all have ended. */
  async #run(loaded: Loaded): Promise<void> {
    const runs = this.#threads.map(async (thread, index) => {
      this.#running.add(index);
      try {
        thread.run(this.#accessJob(index, loaded));
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

  #accessJob(thread: number, { state, ranges, pages }: Loaded): AccessJob {
    return {
      thread,
      settings: this.#settings,
      pattern: { seed: state.seed, zeroEvery: state.zeroEvery },
      ranges,
      control: this.#control.buffer,
      pages: pages.buffers,
      record: this.#records[thread]!.buffers,
    };
  }
}

/** Checks a part of the memory on a thread of its own. */
async function checkPart(job: CheckJob): Promise<CheckResult> {
  const { promise, resolve } = Promise.withResolvers<CheckResult>();
  const thread = new WorkerThread<CheckJob, CheckResult>(CHECK_WORKER, resolve);
  thread.run(job);
  await thread.ended;
  return await promise;
}
