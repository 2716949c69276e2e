/** What a source reports, in the names of QEMU's `query-migrate`. */

import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import type { CompressionStatistics } from "../compression/compression_statistics.ts";
import type { MultifdStatistics } from "../multifd/multifd_statistics.ts";
import type { OrderStatistics } from "../order/order_statistics.ts";
import type { Mode } from "../sending/mode.ts";
import { SENDING_THREADS, type SourceState } from "../sending/source_state.ts";

/** Where an outgoing migration stands. The names are QEMU's `MigrationStatus`. */
export type SourceStatus =
  | "setup"
  | "active"
  | "device"
  | "postcopy-active"
  /** The connection broke after the guest ran there: all is kept, and it is tried to connect again. */
  | "postcopy-paused"
  /** Connected again: what the destination lacks is being found out. */
  | "postcopy-recover"
  | "completed"
  | "failed"
  | "cancelled";

/** Memory statistics of a source; the names are those of QEMU's `MigrationStats` where it has them. */
export interface RamStatistics {
  /** Bytes sent on all channels. */
  readonly transferred: number;
  /** Bytes of pages not yet claimed by a sender. */
  readonly remaining: number;
  /** Bytes of all blocks. */
  readonly total: number;
  /** Zero pages sent. */
  readonly duplicate: number;
  /** Pages sent as they are. */
  readonly normal: number;
  /** Bytes of those pages. */
  readonly "normal-bytes": number;
  /** Throughput since the first page, megabits a second. */
  readonly mbps: number;
  /** Bytes of a target page. */
  readonly "page-size": number;
  /** Pages that the destination asked for. */
  readonly "postcopy-requests": number;
  /** Bytes sent because they were asked for. */
  readonly "postcopy-bytes": number;
}

/** Processor time that a thread took for this migration. */
export interface ThreadStatistics {
  /** `precopy`, `background`, `return-path`, `compress-N` or `multifd-N`. */
  readonly name: string;
  /**
   * Milliseconds of this migration's own steps, told after each, on a thread that serves other migrations
   * too: of `precopy` and `background` processor time, of `return-path` time, as its steps never wait. What
   * the thread spends between steps, and in looking for the next request, is nobody's. Of `compress-N`: of
   * the thread, as it read its clock last, every 64 pages.
   */
  readonly "cpu-time": number;
}

/** Processor time of what carries pages, in nanoseconds. */
export interface CarrierTime {
  readonly name: string;
  readonly time: number;
}

/**
 * Tells the processor time of the threads of a migration.
 *
 * @param live whether there is a precopy
 * @param carriers of each that compresses, or is a channel's
 */
export function threadStatistics(
  state: SourceState,
  live: boolean,
  carriers: readonly CarrierTime[],
): ThreadStatistics[] {
  const sending = SENDING_THREADS.filter((name) => name !== "precopy" || live)
    .map((name) => ({ name, "cpu-time": state.cpuTime(name) / 1e6 }));
  return [
    ...sending,
    ...carriers.map(({ name, time }) => ({ name, "cpu-time": time / 1e6 })),
  ];
}

/** What {@linkcode Source.statistics} returns. */
export interface SourceStatistics {
  /** Where the migration stands. */
  readonly status: SourceStatus;
  /** Milliseconds from the start to the end, or to now. */
  readonly "total-time": number;
  /** Milliseconds from the start until the destination was prepared. */
  readonly "setup-time": number;
  /** Milliseconds from the connection until the destination had loaded the device state; absent before. */
  readonly "time-to-run"?: number;
  /** How requested pages are sent. */
  readonly mode: Mode;
  /** Memory. */
  readonly ram: RamStatistics;
  /** Compression; absent when pages are sent as they are. */
  readonly compression?: CompressionStatistics;
  /** The channels of multifd; absent without. */
  readonly multifd?: MultifdStatistics;
  /** Pages that were to go first; absent without an order. */
  readonly order?: OrderStatistics;
  /** Processor time of sending and compressing. */
  readonly threads: readonly ThreadStatistics[];
  /** Requests answered by the thread that heard them (mode preempt-full). */
  readonly "requests-served": number;
  /** Nanoseconds from a request read to its page given to the socket, mean (mode preempt-full). */
  readonly "request-service-time": number;
  /** The same in 24 power-of-two buckets of microseconds. */
  readonly "request-service-dist": readonly number[];
}

/** Moments of a migration, in monotonic nanoseconds; 0 for what has not happened. */
export interface SourceTimes {
  /** `run` was called. */
  started: number;
  /** The main channel was connected. */
  connected: number;
  /** The destination was prepared: pages could begin to flow. */
  prepared: number;
  /** The first page was sent ahead of the switchover; stays 0 without a precopy of an image. */
  pages: number;
  /** The guest was told to stop; stays 0 for an image. */
  stopped: number;
  /** It had stopped. */
  paused: number;
  /** Its state was saved. */
  saved: number;
  /** The switchover was sent. */
  switched: number;
  /** The destination had loaded the device state. */
  loaded: number;
  /** It ended, well or not. */
  ended: number;
}

/** Makes the moments of a migration in which nothing has happened yet. */
export function newSourceTimes(): SourceTimes {
  return {
    started: 0,
    connected: 0,
    prepared: 0,
    pages: 0,
    stopped: 0,
    paused: 0,
    saved: 0,
    switched: 0,
    loaded: 0,
    ended: 0,
  };
}

/** What the figures of a source are made from. */
export interface SourceFigures {
  /** How requested pages are sent. */
  readonly mode: Mode;
  /** The blocks. */
  readonly layout: RamLayout;
  /** The counters of the threads. */
  readonly state: SourceState;
  /** When what happened. */
  readonly times: Readonly<SourceTimes>;
  /** Compression; undefined when pages are sent as they are. */
  readonly compression: CompressionStatistics | undefined;
  /** The channels of multifd; undefined without. */
  readonly multifd: MultifdStatistics | undefined;
  /** Processor time of the threads. */
  readonly threads: readonly ThreadStatistics[];
}

/**
 * Puts a source's figures together.
 *
 * @param remaining pages not yet claimed
 * @param now monotonic nanoseconds
 */
export function sourceStatistics(
  status: SourceStatus,
  figures: SourceFigures,
  remaining: number,
  now: number,
): SourceStatistics {
  const { mode, layout, state, times, compression, multifd, threads } = figures;
  const { background, urgent, returnPath, service } = state;
  const pageSize = layout.targetPageSize;
  const transferred = background.bytes + urgent.bytes;
  const end = times.ended || now;
  const since = times.pages || times.switched;
  const streaming = since === 0 ? 0 : (end - since) / 1e9;
  const milliseconds = (from: number, to: number) => from === 0 ? 0 : Math.max(0, to - from) / 1e6;
  return {
    status,
    "total-time": milliseconds(times.started, end),
    "setup-time": milliseconds(times.started, times.prepared || end),
    ...times.loaded === 0 ? {} : { "time-to-run": milliseconds(times.connected, times.loaded) },
    mode,
    ram: {
      transferred,
      remaining: remaining * pageSize,
      total: layout.pageCount * pageSize,
      duplicate: background.zeroPages + urgent.zeroPages,
      normal: background.pages + urgent.pages,
      "normal-bytes": (background.pages + urgent.pages) * pageSize,
      mbps: streaming === 0 ? 0 : transferred * 8 / 1e6 / streaming,
      "page-size": pageSize,
      "postcopy-requests": returnPath.requests,
      "postcopy-bytes": urgent.bytes,
    },
    ...compression === undefined ? {} : { compression },
    ...multifd === undefined ? {} : { multifd },
    threads,
    "requests-served": service.count,
    "request-service-time": service.mean,
    "request-service-dist": service.buckets(),
  };
}
