/** What carries a migration's pages beside its tasks: threads that compress, or the channels of multifd. */

import { openStreamCompressor } from "../../ffi/compression/stream_codec.ts";
import { requireCopying } from "../../ffi/gather.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { compressionSettings } from "../compression/compression_settings.ts";
import {
  type CompressionStatistics,
  compressionStatistics,
} from "../compression/compression_statistics.ts";
import { CompressionThreads } from "../compression/compression_threads.ts";
import { multifdRules } from "../multifd/multifd_rules.ts";
import { multifdSettings } from "../multifd/multifd_settings.ts";
import type { MultifdStatistics } from "../multifd/multifd_statistics.ts";
import { SendingChannels } from "../multifd/sending_channels.ts";
import type { SourceState } from "../sending/source_state.ts";
import { checkStallTimeout } from "../../ffi/peer_watch.ts";
import type { Answers } from "./answers.ts";
import { agreeOnCompression } from "./compression_agreement.ts";
import { agreeOnMultifd } from "./multifd_agreement.ts";
import type { OutgoingMemory, OutgoingOptions } from "./outgoing_options.ts";
import type { CarrierTime } from "./statistics.ts";

/**
 * One migration's own. It has them for its first link alone: on the next ones pages go as they are, on demand.
 */
export class Carriers {
  readonly #compression: CompressionThreads | undefined;
  readonly #multifd: SendingChannels | undefined;
  readonly #state: SourceState;
  readonly #pageSize: number;

  /**
   * Makes what the options ask for; no thread is needed yet.
   *
   * @param onFailed called when pages cannot be compressed any more
   * @throws {RangeError} for a compression or channels that cannot be
   * @throws {CompressionError} when this host has no library to compress what goes on channels of multifd
   * @throws {SyscallError} when pages cannot be copied here to be compressed
   */
  constructor(
    memory: OutgoingMemory,
    options: OutgoingOptions,
    state: SourceState,
    onFailed: (error: Error) => void,
  ) {
    const { compress, multifd, pool = ThreadPool.shared } = options;
    const { layout, machine, uuid, pages } = memory;
    this.#state = state;
    this.#pageSize = layout.targetPageSize;
    checkCarriers(options);
    this.#compression = compress === undefined ? undefined : new CompressionThreads(
      compressionSettings(compress),
      layout.targetPageSize,
      pool,
      (reason) => onFailed(new MigrationError("COMPRESSION_FAILED", reason)),
    );
    if (multifd === undefined) return;
    const settings = multifdSettings(multifd, uuid);
    const how = settings.compression;
    // Before anybody is connected to: this host may have no library for it, or refuse a system call.
    if (how !== undefined) {
      openStreamCompressor(how.method, how.level).close();
      requireCopying();
    }
    this.#multifd = new SendingChannels({
      settings,
      rules: multifdRules(machine, multifd.flushAfterEachSection),
      layout,
      pages,
      pool,
      stallTimeout: checkStallTimeout(options.stallTimeout),
    });
  }

  /** The threads that compress; undefined when none do. */
  get compression(): CompressionThreads | undefined {
    return this.#compression;
  }

  /** The channels of multifd; undefined when there are none. */
  get multifd(): SendingChannels | undefined {
    return this.#multifd;
  }

  /** Sees that their threads are there. */
  async prepare(): Promise<void> {
    await Promise.all([this.#compression?.enter(), this.#multifd?.prepare()]);
  }

  /**
   * Sees that the destination understands what they send.
   *
   * @param besidePreempt whether compressed pages may come beside a preempt channel
   * @param link to the destination, which was greeted
   * @returns the extensions that the stream uses
   */
  async agree(
    besidePreempt: boolean,
    { answers, signal }: { readonly answers: Answers; readonly signal: AbortSignal },
  ): Promise<readonly string[]> {
    if (this.#multifd !== undefined) {
      await agreeOnMultifd(this.#multifd.channels, answers, signal);
    }
    if (this.#compression === undefined) return [];
    return await agreeOnCompression(this.#compression.method, besidePreempt, answers, signal);
  }

  /** Figures of compression by threads; undefined when there is none. */
  get compressionStatistics(): CompressionStatistics | undefined {
    if (this.#compression === undefined) return undefined;
    const { method } = this.#compression;
    return compressionStatistics(method, this.#state.compression, this.#pageSize);
  }

  /** Figures of multifd; undefined when there is none. */
  get multifdStatistics(): MultifdStatistics | undefined {
    return this.#multifd?.statistics(this.#state.multifd.bytes);
  }

  /** Processor time of each, nanoseconds. */
  get times(): CarrierTime[] {
    const named = (name: string, times: readonly number[] = []) =>
      times.map((time, index) => ({ name: `${name}-${index}`, time }));
    return [
      ...named("compress", this.#compression?.cpuTimes),
      ...named("multifd", this.#multifd?.cpuTimes),
    ];
  }

  /** Tells their tasks to end. */
  stop(): void {
    this.#compression?.stop();
    this.#multifd?.stop();
  }

  /** Waits until their tasks have ended, and frees what they used; no other task uses it any more. */
  async close(): Promise<void> {
    await Promise.all([this.#compression?.join(), this.#multifd?.join()]);
    this.#multifd?.[Symbol.dispose]();
  }
}

/**
 * Sees that the options of a migration's carriers can be.
 *
 * @throws {RangeError} for one that cannot, or two that exclude each other
 */
export function checkCarriers({ compress, multifd }: CarrierOptions): void {
  if (compress !== undefined) compressionSettings(compress);
  if (multifd === undefined) return;
  multifdSettings(multifd);
  if (compress === undefined) return;
  throw new RangeError(
    `Pages go on multifd channels or through compression threads, not both: ${multifd.channels} channels ` +
      `and ${compress.method}: compress by multifd (--multifd-compression), or leave the channels out`,
  );
}

/** The options of a migration's carriers. */
export type CarrierOptions = Pick<OutgoingOptions, "compress" | "multifd">;
