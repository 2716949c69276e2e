/** What a destination reports, in the names of QEMU's `query-migrate` (10.1 and later). */

import type { ArrivalFigures } from "./incoming/arrival_times.ts";
import type { DecompressionStatistics } from "./decompression/decompression_threads.ts";
import type { DestinationState } from "./placing/destination_state.ts";
import type { Pauses } from "./pauses.ts";
import type { ThreadLatency } from "./placing/thread_latencies.ts";

/** Where an incoming migration stands. The names are QEMU's `MigrationStatus`. */
export type DestinationStatus =
  | "setup"
  | "active"
  | "device"
  | "postcopy-active"
  | "postcopy-paused"
  | "postcopy-recover"
  | "completed"
  | "failed";

/**
 * What {@linkcode Destination.statistics} returns. The source measures more of the downtime: stopping and
 * saving the guest as well, and what it says until it is heard.
 */
export interface DestinationStatistics extends Partial<ArrivalFigures> {
  /** Where the migration stands. */
  readonly status: DestinationStatus;
  /** Milliseconds from the main connection to the end, or to now. */
  readonly "total-time": number;
  /** Nanoseconds from a fault read to its page placed, mean over the faults that were asked for. */
  readonly "postcopy-latency": number;
  /** The same in 24 power-of-two buckets: bucket N counts 2^N us up to 2^(N+1) us. */
  readonly "postcopy-latency-dist": readonly number[];
  /** The longest of them, nanoseconds. */
  readonly "postcopy-latency-max": number;
  /** The same mean for each faulting thread. */
  readonly "postcopy-vcpu-latency": readonly ThreadLatency[];
  /** Faults read. */
  readonly faults: number;
  /** Pages asked for. */
  readonly requests: number;
  /** Pages in place. */
  readonly received: number;
  /** Pages that the source's image does not hold: never sent, and zeros for whoever touches one. */
  readonly absent: number;
  /** Pages of all blocks; 0 before they are known. */
  readonly pages: number;
  /** Pages that came twice and were left as they were. */
  readonly duplicates: number;
  /** How often the source was lost, and the guest held where it missed a page. */
  readonly pauses: number;
  /** How often a source has resumed the migration. */
  readonly recoveries: number;
  /** Bytes received on the main channel. */
  readonly "main-bytes": number;
  /** Bytes received on the channels of multifd, where some are expected. */
  readonly "multifd-bytes"?: number;
  /** Bytes received on the preempt channel. */
  readonly "preempt-bytes": number;
  /** Pages that came compressed; absent while none has. */
  readonly decompression?: DecompressionStatistics;
}

/**
 * Puts a destination's figures together.
 *
 * @param decompression figures of compressed pages, if some came
 * @param pages target pages of all blocks
 * @param totalTime milliseconds
 * @param arrival how the guest got here, if it was started
 * @param multifdBytes received on channels of multifd, if there are any
 */
export function destinationStatistics(
  status: DestinationStatus,
  state: DestinationState,
  pauses: Pauses,
  decompression: DecompressionStatistics | undefined,
  pages: number,
  totalTime: number,
  arrival: ArrivalFigures | undefined,
  multifdBytes?: number,
): DestinationStatistics {
  return {
    status,
    "total-time": totalTime,
    ...arrival,
    "postcopy-latency": state.latency.mean,
    "postcopy-latency-dist": state.latency.buckets(),
    "postcopy-latency-max": state.latency.longest,
    "postcopy-vcpu-latency": state.threads.list(),
    faults: state.faults,
    requests: state.requests,
    received: state.received,
    absent: state.absent,
    pages,
    duplicates: state.duplicates,
    pauses: pauses.count,
    recoveries: pauses.recoveries,
    "main-bytes": state.mainBytes,
    "preempt-bytes": state.preemptBytes,
    ...multifdBytes === undefined ? {} : { "multifd-bytes": multifdBytes },
    ...decompression === undefined ? {} : { decompression },
  };
}
