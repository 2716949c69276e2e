/** The control plane of decompression: it owns the rings, and the memory that pages pass through. */

import { Eventfd } from "../../ffi/eventfd.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { type CompressionMethod, SLOT_BYTES } from "../../migration/compression.ts";
import { type PoolTask, ThreadPool } from "../../migration/threads/thread_pool.ts";
import { WorkRings } from "../../migration/threads/work_rings.ts";
import {
  checkDecompressThreads,
  type Decompression,
  decompressionShape,
  type DecompressorInit,
  DEFAULT_THREADS,
  Figure,
  FIGURES,
  slotCount,
} from "./decompression.ts";
import { DECOMPRESS_TASK } from "./decompressor.ts";
import { ReceiveBuffer } from "../../channel/receive_buffer.ts";
import { MAIN_CHANNEL_BYTES } from "../incoming/stream_reader.ts";

/** Figures of pages that came compressed. */
export interface DecompressionStatistics {
  /** How they were compressed. */
  readonly method: CompressionMethod;
  /** Pages that came compressed. */
  readonly pages: number;
  /**
   * Of these, pages that the thread that reads decompressed itself: where they came one by one, and
   * where no decompression thread was free.
   */
  readonly "by-reader": number;
  /** Their bytes as they came. */
  readonly "compressed-size": number;
  /** What decompressed them, by the threads that it may use, whoever ran them. */
  readonly threads: readonly {
    /** For example `"decompress-0"`. */
    readonly name: string;
    /** Milliseconds of processor time, counted every few pages. */
    readonly "cpu-time": number;
  }[];
}

/**
 * An incoming migration's share in the threads that decompress: its rings, and for each a task. They are
 * wanted when the source says that its pages are compressed, or sends the first; until then, and with none
 * at all, the thread that reads decompresses itself. The threads are the pool's: where that has fewer than
 * the migration may use, several of its rings are on one.
 */
export class DecompressionThreads {
  readonly #count: number;
  readonly #pool: ThreadPool;
  readonly #rings: WorkRings;
  readonly #figures = new Float64Array(new SharedArrayBuffer(FIGURES * 8));
  readonly #tasks: PoolTask<DecompressorInit, never>[] = [];
  readonly #wakes: Eventfd[] = [];
  #memory: MappedMemory | undefined;
  #method: CompressionMethod | undefined;
  #starting: Promise<void> = Promise.resolve();

  /**
   * @param threads how many it may use; default 2
   * @param pool has the threads; default the process's own
   * @throws {RangeError} when there cannot be so many
   */
  constructor(threads: number = DEFAULT_THREADS, pool: ThreadPool = ThreadPool.shared) {
    checkDecompressThreads(threads);
    this.#count = threads;
    this.#pool = pool;
    this.#rings = new WorkRings(decompressionShape(threads));
  }

  /**
   * What the thread that reads the main channel needs; maps the memory.
   *
   * @throws {SyscallError} from mmap
   */
  get shared(): Decompression {
    const length = ReceiveBuffer.roomFor(MAIN_CHANNEL_BYTES) + slotCount(this.#count) * SLOT_BYTES;
    const { address } = this.#memory ??= smallPages(length);
    return {
      threads: this.#count,
      memory: { address, length },
      rings: this.#rings.buffer,
      figures: this.#figures.buffer as SharedArrayBuffer,
    };
  }

  /**
   * Has the rings taken to the pool's threads, once the pages' method is known. Starting again does nothing.
   *
   * @param wakeFd eventfd of the task that reads, open until this is closed
   */
  start(method: CompressionMethod, wakeFd: number): void {
    if (this.#method !== undefined || this.#rings.stopped) return;
    this.#method = method;
    this.#rings.wakeFd = wakeFd;
    // Where that fails, for want of descriptors, the thread that reads decompresses what is left.
    this.#starting = this.#startAll(method).catch(() => {});
  }

  /**
   * Runs one task after the other: where it needs a thread that is not there yet, that takes 20 ms of a
   * processor to begin, and many at once would keep the guest waiting that arrives meanwhile.
   */
  async #startAll(method: CompressionMethod): Promise<void> {
    const slots = this.#memory!.address + ReceiveBuffer.roomFor(MAIN_CHANNEL_BYTES);
    const rings = this.#rings;
    for (let worker = 0; worker < this.#count && !rings.stopped; worker++) {
      const wake = new Eventfd();
      this.#wakes.push(wake);
      rings.wakeWorkerBy(worker, wake.fd);
      const task = this.#pool.task(DECOMPRESS_TASK);
      // Its thread may never have come to run it. Its pages are decompressed all the same.
      task.ended.catch(() => rings.bury(worker));
      this.#tasks.push(task);
      task.run({ method, worker, threads: this.#count, rings: rings.buffer, slots });
      await task.prepare().catch(() => {});
    }
  }

  /** The figures so far; undefined while no page has come compressed. */
  statistics(): DecompressionStatistics | undefined {
    const method = this.#method;
    if (method === undefined) return undefined;
    return {
      method,
      pages: this.#figures[Figure.PAGES]!,
      "by-reader": this.#figures[Figure.BY_READER]!,
      "compressed-size": this.#figures[Figure.BYTES]!,
      threads: Array.from({ length: this.#count }, (_, worker) => ({
        name: `decompress-${worker}`,
        "cpu-time": this.#rings.cpuTime(worker) / 1e6,
      })),
    };
  }

  /** Ends the tasks: the one that reads has ended, and with it the work. */
  stop(): void {
    this.#rings.stop();
  }

  /** Ends the tasks and frees the memory, which nobody reads into any more. */
  async close(): Promise<void> {
    this.stop();
    await this.#starting;
    await Promise.all(this.#tasks.map((task) => task.join()));
    for (const wake of this.#wakes) wake.close();
    this.#memory?.close();
    this.#memory = undefined;
  }
}

/** Maps memory of which no more is there than was used. */
function smallPages(length: number): MappedMemory {
  const memory = MappedMemory.anonymous(length);
  memory.adviseSmallPages();
  return memory;
}
