/** The workload guest at the destination: threads that use the memory that arrives, and know what it must hold. */

import { monotonicNanoseconds } from "../ffi/clock.ts";
import type { Guest, GuestMemory } from "../migration/guest.ts";
import { TestPattern } from "./test_pattern.ts";
import { tellBlocks } from "./blocks.ts";
import type { CheckResult } from "./check.ts";
import { checkMemory } from "./check_memory.ts";
import { Crew, type CrewMemory, type WorkloadStatistics } from "./crew.ts";
import { parseWorkloadState } from "./device_state.ts";
import { parseLiveState } from "./live_state.ts";
import { type WorkloadOptions, type WorkloadSettings, workloadSettings } from "./options.ts";
import { SharedPages } from "./shared_pages.ts";
import { WorkloadError } from "./workload_error.ts";

interface Loaded extends CrewMemory {
  /** Writes until the guest was stopped at its source; undefined for a guest that did not run there. */
  readonly writes: number | undefined;
}

/**
 * A guest whose threads read or write all its memory and check what they read. It is loaded from an
 * image of {@linkcode writeWorkloadImage}, or goes on where a {@linkcode LiveWorkload} was stopped.
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
  readonly #crew: Crew;
  #loaded: Loaded | undefined;
  #startedAt: number | undefined;

  /**
   * Starts the threads, which wait until the guest is loaded and started.
   *
   * @param options what to do with the memory
   * @throws {RangeError} for a setting out of its range
   */
  constructor(options: WorkloadOptions = {}) {
    this.#settings = workloadSettings(options);
    this.#crew = new Crew(this.#settings);
  }

  /** Resolves when all threads have loaded their code: some 20 ms after the guest was made. */
  get ready(): Promise<void> {
    return this.#crew.ready;
  }

  /**
   * Takes the device state and gives every thread its work. Touches no memory.
   *
   * @throws {WorkloadError} when it is not a workload guest's, or the memory is of another size
   */
  load(deviceState: Uint8Array, memory: GuestMemory): void {
    const live = parseLiveState(deviceState);
    const state = live ?? parseWorkloadState(deviceState);
    const { ranges, pages, counts } = tellBlocks(memory.blocks, live?.counts);
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
    const shared = new SharedPages(pages, counts === undefined ? {} : { writes: counts });
    const pattern = new TestPattern(state);
    this.#loaded = { pattern, ranges, pages: shared, writes: live?.writes };
    this.#crew.give(this.#loaded);
  }

  /** Lets the threads run. */
  start(): void {
    this.#startedAt = monotonicNanoseconds();
    this.#crew.start();
  }

  /** When the threads were let run, in nanoseconds of the host's monotonic clock. */
  get startedAt(): number | undefined {
    return this.#startedAt;
  }

  /**
   * Resolves when all threads ended by themselves or were stopped; rejects when one broke down. A
   * wrong byte stops all of them and is found in the statistics.
   */
  get ended(): Promise<void> {
    return this.#crew.ended;
  }

  /**
   * Stops the threads, at once for those that do not wait for a page, and waits until all ended.
   * The guest can be checked from then on.
   */
  halt(): Promise<void> {
    return this.#crew.halt();
  }

  /**
   * Stops the threads and gives them back. Waits until all ended, or wait for a page that does not
   * come: such a thread stays until the process ends or its page is placed, then ends without
   * another access. Stopping again does nothing.
   */
  stop(): Promise<void> {
    return this.#crew.stop();
  }

  /**
   * Checks every byte of the memory, on several threads; waits for pages that are missing. The
   * guest's threads must have ended.
   *
   * @throws {Error} when the guest was not loaded
   */
  async check(): Promise<CheckResult> {
    if (this.#loaded === undefined) throw new Error("Guest is not loaded: nothing to check");
    const { writes } = this.#loaded;
    const here = this.#settings.write ? this.#crew.accesses : 0; // each access of a writer writes
    return await checkMemory(this.#loaded, writes === undefined ? undefined : writes + here);
  }

  /** What the threads did until now. */
  statistics(): WorkloadStatistics {
    return this.#crew.statistics();
  }

  /** All latencies kept one by one, in nanoseconds, ascending. */
  latencies(): Float64Array {
    return this.#crew.latencies();
  }
}
