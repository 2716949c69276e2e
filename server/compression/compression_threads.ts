/** The compression of one outgoing migration, seen from its control plane. */

import { Eventfd } from "../../ffi/eventfd.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import {
  COMPRESSIBLE_PAGE_BYTES,
  type CompressionMethod,
  SLOT_BYTES,
} from "../../migration/compression.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import type { PoolTask, ThreadPool } from "../../migration/threads/thread_pool.ts";
import { WorkRings } from "../../migration/threads/work_rings.ts";
import { type CompressionInit, SLOT_WORDS } from "./compression_slots.ts";
import type { CompressionSettings } from "./compression_settings.ts";
import {
  COMPRESS_TASK,
  type PageCompressorInit,
  type PageCompressorMessage,
} from "./page_compressor.ts";

/**
 * A migration's share in the threads that compress: its rings, the memory of their slots, and for each
 * ring a task. The threads are the pool's: where that has fewer than the migration may use, several of its
 * rings are on one.
 */
export class CompressionThreads {
  /** What the sending threads need. */
  readonly init: CompressionInit;
  readonly #settings: CompressionSettings;
  readonly #pageSize: number;
  readonly #rings: WorkRings;
  readonly #memory: MappedMemory;
  readonly #stack = new DisposableStack();
  readonly #tasks: readonly PoolTask<PageCompressorInit, PageCompressorMessage>[];
  readonly #entered = Promise.withResolvers<void>();
  #missing: number;

  /**
   * Makes the rings; no thread is needed before they are entered.
   *
   * @param settings how many threads it may use, and how they compress
   * @param pageSize bytes of a target page
   * @param pool has the threads
   * @param onFailed called when a library fails on a page, which is sent as it is
   */
  constructor(
    settings: CompressionSettings,
    pageSize: number,
    pool: ThreadPool,
    onFailed: (reason: string) => void,
  ) {
    this.#settings = settings;
    this.#pageSize = pageSize;
    const shape = { workers: settings.threads, words: SLOT_WORDS };
    const rings = this.#rings = new WorkRings(shape);
    using stack = new DisposableStack();
    // Who sends the pages waits for results beside other sessions: not on the rings.
    rings.wakeFd = stack.use(new Eventfd()).fd;
    for (let worker = 0; worker < settings.threads; worker++) {
      rings.wakeWorkerBy(worker, stack.use(new Eventfd()).fd);
    }
    this.#memory = stack.use(MappedMemory.anonymous(rings.slots * SLOT_BYTES));
    this.#memory.adviseSmallPages(); // no more of it is there than was used
    this.#stack = stack.move();
    this.init = {
      shape,
      rings: rings.buffer,
      memory: this.#memory.address,
      wait: settings.wait,
    };
    this.#missing = settings.threads;
    this.#tasks = Array.from(
      { length: settings.threads },
      () =>
        pool.task(COMPRESS_TASK, (message) => {
          if (message.kind === "failed") onFailed(message.reason);
          else if (--this.#missing === 0) this.#entered.resolve();
        }),
    );
  }

  /** How pages are compressed. */
  get method(): CompressionMethod {
    return this.#settings.method;
  }

  /** Resolves when one of the tasks has ended; rejects with what it threw, or why its thread died. */
  get ended(): Promise<void> {
    return Promise.race(this.#tasks.map((task) => task.ended));
  }

  /** The processor time that each ring took, nanoseconds. */
  get cpuTimes(): number[] {
    return this.#tasks.map((_, worker) => this.#rings.cpuTime(worker));
  }

  /**
   * Has the pages' rings taken to the pool's threads; resolves when all of them can take pages.
   *
   * @throws {MigrationError} when the guest's pages cannot be compressed here
   */
  async enter(): Promise<void> {
    if (this.#pageSize !== COMPRESSIBLE_PAGE_BYTES) {
      throw new MigrationError(
        "UNSUPPORTED",
        `Target pages of other sizes than ${COMPRESSIBLE_PAGE_BYTES} cannot be compressed, use ` +
          `--compress none: ${this.#pageSize}`,
      );
    }
    this.#tasks.forEach((task, worker) => {
      const { init } = this;
      task.run({ ...init, worker, pageSize: this.#pageSize, settings: this.#settings });
    });
    await Promise.race([this.#entered.promise, this.ended]);
  }

  /** Tells the tasks, and whoever waits for them, to end. */
  stop(): void {
    this.#rings.stop();
  }

  /** Waits for the tasks' end; nobody may use the slots any more. */
  async join(): Promise<void> {
    await Promise.all(this.#tasks.map((task) => task.join()));
    this.#stack.dispose();
  }
}
