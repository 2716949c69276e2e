/** The compression threads of one outgoing migration, seen from its control plane. */

import { Eventfd } from "../../ffi/eventfd.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import {
  COMPRESSIBLE_PAGE_BYTES,
  type CompressionMethod,
  SLOT_BYTES,
} from "../../migration/compression.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { WorkRings } from "../../migration/threads/work_rings.ts";
import { WorkerThread } from "../../migration/threads/worker_thread.ts";
import { type CompressionInit, SLOT_WORDS } from "./compression_slots.ts";
import type { CompressionSettings } from "./compression_settings.ts";
import type { PageCompressorInit, PageCompressorMessage } from "./page_compressor.ts";

/**
 * Threads that compress, their rings, and the memory of their slots. They are of this migration alone,
 * unlike those that send: each keeps a library's context, and sleeps on the rings of its own.
 */
export class CompressionThreads {
  /** What the sending threads need. */
  readonly init: CompressionInit;
  readonly #settings: CompressionSettings;
  readonly #pageSize: number;
  readonly #rings: WorkRings;
  readonly #memory: MappedMemory;
  /** Who sends the pages waits for results beside other sessions: not on the rings. */
  readonly #wake = new Eventfd();
  readonly #threads: readonly WorkerThread<PageCompressorInit, PageCompressorMessage>[];
  readonly #entered = Promise.withResolvers<void>();
  #missing: number;

  /**
   * Starts the threads.
   *
   * @param settings how many, and how they compress
   * @param pageSize bytes of a target page
   * @param onFailed called when a library fails on a page, which is sent as it is
   */
  constructor(
    settings: CompressionSettings,
    pageSize: number,
    onFailed: (reason: string) => void,
  ) {
    this.#settings = settings;
    this.#pageSize = pageSize;
    const shape = { workers: settings.threads, words: SLOT_WORDS };
    this.#rings = new WorkRings(shape);
    this.#rings.wakeFd = this.#wake.fd;
    this.#memory = MappedMemory.anonymous(this.#rings.slots * SLOT_BYTES);
    this.init = {
      shape,
      rings: this.#rings.buffer,
      memory: this.#memory.address,
      wait: settings.wait,
    };
    this.#missing = settings.threads;
    this.#threads = Array.from(
      { length: settings.threads },
      () =>
        new WorkerThread<PageCompressorInit, PageCompressorMessage>(
          new URL("./compress_worker.ts", import.meta.url),
          (message) => {
            if (message.kind === "failed") onFailed(message.reason);
            else if (--this.#missing === 0) this.#entered.resolve();
          },
        ),
    );
  }

  /** How pages are compressed. */
  get method(): CompressionMethod {
    return this.#settings.method;
  }

  /** Resolves when one of the threads has ended; rejects with what it threw. */
  get ended(): Promise<void> {
    return Promise.race(this.#threads.map((thread) => thread.ended));
  }

  /** The processor time of each thread, nanoseconds. */
  get cpuTimes(): number[] {
    return this.#threads.map((_, worker) => this.#rings.cpuTime(worker));
  }

  /**
   * Lets the threads open their libraries; resolves when all of them can take pages.
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
    await Promise.all(this.#threads.map((thread) => thread.ready));
    this.#threads.forEach((thread, worker) => {
      const { init } = this;
      thread.run({ ...init, worker, pageSize: this.#pageSize, settings: this.#settings });
    });
    await Promise.race([this.#entered.promise, this.ended]);
  }

  /** Tells the threads, and whoever waits for them, to end. */
  stop(): void {
    this.#rings.stop();
  }

  /** Waits for the threads' end; nobody may use the slots any more. */
  async join(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.join()));
    this.#memory.close();
    this.#wake.close();
  }
}
