/** The workload guest at the source: threads that use memory while it is being sent. */

import { monotonicNanoseconds } from "../ffi/clock.ts";
import type { LiveGuest } from "../migration/guest.ts";
import type { GuestBlock } from "../migration/memory/guest_block.ts";
import { TestPattern } from "./test_pattern.ts";
import { COUNT_BLOCK, tellBlocks } from "./blocks.ts";
import type { CheckResult } from "./check.ts";
import { checkMemory } from "./check_memory.ts";
import { Crew, type CrewMemory, type WorkloadStatistics } from "./crew.ts";
import { fillMemory } from "./fill.ts";
import { encodeLiveState } from "./live_state.ts";
import { type WorkloadOptions, workloadSettings } from "./options.ts";
import { type CountRange, SharedPages } from "./shared_pages.ts";

/** Settings of a {@linkcode LiveWorkload}; all have defaults. */
export interface LiveWorkloadOptions extends Omit<WorkloadOptions, "untilTouched" | "accesses"> {
  /** True, the default, to write; false only to read. */
  readonly write?: boolean;
  /** What its content is made from; default 1. */
  readonly seed?: number | undefined;
  /** One page in so many is zero when it starts; 0 for none; default 4. */
  readonly zeroEvery?: number;
  /** How often the words of a page repeat, so that it compresses to about this part; default 1. */
  readonly repeats?: number;
}

/**
 * A guest that runs at the source of a live migration. Its memory is two RAM blocks, see
 * {@linkcode liveBlockSizes}: the counts of writes lie in one of them and so move with the pages. At
 * the destination a {@linkcode WorkloadGuest} goes on, and checks every byte at the end.
 *
 * @example
 * ```ts ignore
 * using region = new LiveRegion(liveBlockSizes(512 * 2 ** 20, 4096));
 * await using guest = new LiveWorkload(region.blocks, { threads: 4 });
 * await guest.start();
 * await using source = new LiveSource(region, guest, { to });
 * await source.run();
 * ```
 */
export class LiveWorkload implements LiveGuest, AsyncDisposable {
  readonly #crew: Crew;
  readonly #memory: CrewMemory;
  readonly #counts: CountRange;
  readonly #write: boolean;
  #fillTime = 0;
  #running = false;
  #closed: Promise<void> | undefined;

  /**
   * Starts the threads, which wait.
   *
   * @param blocks the guest's memory, which must stay mapped until it is closed
   * @param options what to do with it
   * @throws {RangeError} for a setting out of its range
   * @throws {WorkloadError} `WRONG_MEMORY` when the blocks are not those of a live workload
   */
  constructor(blocks: readonly GuestBlock[], options: LiveWorkloadOptions = {}) {
    const { zeroEvery = 4, repeats = 1, ...rest } = options;
    const settings = workloadSettings({ ...rest, write: options.write ?? true });
    const pattern = new TestPattern({ seed: settings.seed ?? 1, zeroEvery, repeats });
    const { ranges, pages, counts } = tellBlocks(blocks, COUNT_BLOCK);
    this.#counts = counts!;
    this.#write = settings.write;
    this.#memory = { pattern, ranges, pages: new SharedPages(pages, { writes: this.#counts }) };
    this.#crew = new Crew(settings);
  }

  /** Fills the memory with the pattern, on several threads, then lets the guest's threads run. */
  async start(): Promise<void> {
    const began = monotonicNanoseconds();
    await fillMemory(this.#memory, this.#counts);
    this.#fillTime = monotonicNanoseconds() - began;
    await this.#crew.ready;
    this.#crew.give(this.#memory);
    this.#running = true;
    this.#crew.start();
  }

  /** Nanoseconds that filling the memory took. */
  get fillTime(): number {
    return this.#fillTime;
  }

  /** True while the guest runs here: it was started, and is not stopped. */
  get running(): boolean {
    return this.#running;
  }

  /**
   * Resolves when all threads ended: halted, or one read a wrong byte, which stops all of them and is
   * found in the statistics. Rejects when one broke down.
   */
  get ended(): Promise<void> {
    return this.#crew.ended;
  }

  /** Pauses all threads; resolves when each has parked between two accesses. */
  async stop(): Promise<void> {
    await this.#crew.pause();
    this.#running = false;
  }

  /** Returns the state of the guest, which must be stopped. */
  save(): Uint8Array<ArrayBuffer> {
    const { pattern, ranges } = this.#memory;
    return encodeLiveState({
      ...pattern.settings,
      pages: ranges.reduce((sum, range) => sum + range.pages, 0),
      counts: COUNT_BLOCK,
      writes: this.#writes,
    });
  }

  /** Lets the threads run on here. */
  resume(): void {
    this.#running = true;
    this.#crew.resume();
  }

  /** Ends all threads. The guest can be checked from then on. */
  async halt(): Promise<void> {
    await this.#crew.halt();
    this.#running = false;
  }

  /** Checks every byte of the memory. The guest must be stopped or halted. */
  check(): Promise<CheckResult> {
    return checkMemory(this.#memory, this.#writes);
  }

  /** What the threads did until now. */
  statistics(): WorkloadStatistics {
    return this.#crew.statistics();
  }

  /** Ends all threads: the memory may be unmapped then. Closing again does nothing. */
  close(): Promise<void> {
    this.#closed ??= this.#crew.stop();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Writes to all pages: each access of a writer is one. */
  get #writes(): number {
    return this.#write ? this.#crew.accesses : 0;
  }
}
