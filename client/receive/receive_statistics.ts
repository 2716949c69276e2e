/** What an image receiver reports. */

import type { DecompressionStatistics } from "../decompression/decompression_threads.ts";
import type { DestinationStatus } from "../statistics.ts";
import { Counter, type ReceiveState } from "./receive_state.ts";

/** What {@linkcode ImageReceiver.statistics} returns; names shared with `query-migrate` mean the same. */
export interface ReceiveStatistics {
  /** Where the migration stands. */
  readonly status: DestinationStatus;
  /** Milliseconds from the main connection to the end, or to now. */
  readonly "total-time": number;
  /** Bytes of a target page; 0 before it is known. */
  readonly "page-size": number;
  /** Pages of all blocks; 0 before they are known. */
  readonly pages: number;
  /** Pages that the image has, with content or zero. */
  readonly received: number;
  /** Pages with content. */
  readonly normal: number;
  /** Pages that came as zero, or that the source's image does not hold. */
  readonly duplicate: number;
  /** Pages that the source took back at the switch to postcopy and has not sent again. */
  readonly remaining: number;
  /** Pages that no record has named so far; at the end they are zero, as QEMU loads them. */
  readonly unnamed: number;
  /** Pages that came twice after the switch to postcopy; the first was kept. */
  readonly duplicates: number;
  /** Bytes of pages written into the file, those that were replaced later included. */
  readonly "written-bytes": number;
  /** Bytes received on the main channel. */
  readonly "main-bytes": number;
  /** Bytes received on the preempt channel. */
  readonly "preempt-bytes": number;
  /** Bytes received on the channels of multifd, where some are expected. */
  readonly "multifd-bytes"?: number;
  /** Pages that came compressed; absent while none has. */
  readonly decompression?: DecompressionStatistics;
}

/**
 * Puts a receiver's figures together.
 *
 * @param decompression figures of compressed pages, if some came
 * @param totalTime milliseconds
 * @param multifdBytes received on channels of multifd, if there are any
 */
export function receiveStatistics(
  status: DestinationStatus,
  state: ReceiveState,
  decompression: DecompressionStatistics | undefined,
  totalTime: number,
  multifdBytes?: number,
): ReceiveStatistics {
  const pages = state.get(Counter.PAGES);
  const received = state.get(Counter.RECEIVED);
  const normal = state.get(Counter.DATA);
  const remaining = state.get(Counter.MISSING);
  return {
    status,
    "total-time": totalTime,
    "page-size": state.get(Counter.PAGE_SIZE),
    pages,
    received,
    normal,
    duplicate: received - normal,
    remaining,
    unnamed: pages - received - remaining,
    duplicates: state.get(Counter.DUPLICATES),
    "written-bytes": state.get(Counter.WRITTEN_BYTES),
    "main-bytes": state.get(Counter.MAIN_BYTES),
    "preempt-bytes": state.get(Counter.PREEMPT_BYTES),
    ...multifdBytes === undefined ? {} : { "multifd-bytes": multifdBytes },
    ...decompression === undefined ? {} : { decompression },
  };
}
