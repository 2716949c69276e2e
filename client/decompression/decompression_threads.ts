/** The control plane of decompression: it owns the threads, and the memory that pages pass through. */

import { MappedMemory } from "../../ffi/memory.ts";
import { type CompressionMethod, SLOT_BYTES } from "../../migration/compression.ts";
import { WorkerThread } from "../../migration/threads/worker_thread.ts";
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
import { ReaderCall } from "./reader_call.ts";
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
  /** What decompressed them. */
  readonly threads: readonly {
    /** For example `"decompress-0"`. */
    readonly name: string;
    /** Milliseconds of processor time, counted every few pages. */
    readonly "cpu-time": number;
  }[];
}

/**
 * The decompression threads of one incoming migration. They are started when the source says that its
 * pages are compressed, or sends the first; until then, and with none at all, the thread that reads
 * decompresses itself.
 */
export class DecompressionThreads {
  readonly #count: number;
  readonly #rings: WorkRings;
  readonly #call = new ReaderCall();
  readonly #figures = new Float64Array(new SharedArrayBuffer(FIGURES * 8));
  readonly #threads: WorkerThread<DecompressorInit, never>[] = [];
  #memory: MappedMemory | undefined;
  #method: CompressionMethod | undefined;
  #starting: Promise<void> = Promise.resolve();

  /**
   * @param threads how many; default 2
   * @throws {RangeError} when there cannot be so many
   */
  constructor(threads: number = DEFAULT_THREADS) {
    checkDecompressThreads(threads);
    this.#count = threads;
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
      call: this.#call.buffer,
    };
  }

  /**
   * Starts the threads, once the pages' method is known. Starting again does nothing.
   *
   * @param wakeFd eventfd of the task that reads, open until these threads are closed
   */
  start(method: CompressionMethod, wakeFd: number): void {
    if (this.#method !== undefined || this.#rings.stopped) return;
    this.#method = method;
    this.#starting = this.#startAll(method, wakeFd);
  }

  /**
   * Starts one thread after the other: each takes 20 ms of a processor to begin, and many at once would
   * keep the guest waiting that arrives meanwhile.
   */
  async #startAll(method: CompressionMethod, wakeFd: number): Promise<void> {
    const slots = this.#memory!.address + ReceiveBuffer.roomFor(MAIN_CHANNEL_BYTES);
    const rings = this.#rings;
    for (let worker = 0; worker < this.#count && !rings.stopped; worker++) {
      const entry = new URL("./decompress_worker.ts", import.meta.url);
      const thread = new WorkerThread<DecompressorInit, never>(entry);
      thread.ended.catch(() => {
        rings.bury(worker); // its pages are decompressed all the same
        this.#call.answer(wakeFd);
      });
      this.#threads.push(thread);
      const call = this.#call.buffer;
      thread.run({
        method,
        worker,
        threads: this.#count,
        rings: rings.buffer,
        slots,
        call,
        wakeFd,
      });
      await thread.ready.catch(() => {});
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

  /** Ends the threads: the one that reads has ended, and with it the work. */
  stop(): void {
    this.#rings.stop();
  }

  /** Ends the threads and frees the memory, which nobody reads into any more. */
  async close(): Promise<void> {
    this.stop();
    await this.#starting;
    await Promise.all(this.#threads.map((thread) => thread.join()));
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
