/** The figures of a migration that has not begun. */

import type { ReceiveStatistics } from "../../client/receive/receive_statistics.ts";
import { LATENCY_BUCKETS } from "../../migration/threads/histogram.ts";
import type { SourceStatistics, SourceStatus } from "../../server/outgoing/statistics.ts";

/**
 * Returns figures of which none is known: its image is not open, say.
 *
 * @param status where it stands
 */
export function statisticsBefore(status: SourceStatus): SourceStatistics {
  return {
    status,
    "total-time": 0,
    "setup-time": 0,
    mode: "preempt-full",
    ram: {
      transferred: 0,
      remaining: 0,
      total: 0,
      duplicate: 0,
      normal: 0,
      "normal-bytes": 0,
      mbps: 0,
      "page-size": 4096,
      "postcopy-requests": 0,
      "postcopy-bytes": 0,
    },
    threads: [],
    "requests-served": 0,
    "request-service-time": 0,
    "request-service-dist": Array<number>(LATENCY_BUCKETS).fill(0),
  };
}

/**
 * {@linkcode statisticsBefore} of an incoming one.
 *
 * @param status where it stands; what was cancelled has failed, there
 */
export function receivedBefore(status: SourceStatus): ReceiveStatistics {
  return {
    status: status === "cancelled" ? "failed" : status,
    "total-time": 0,
    "page-size": 0,
    pages: 0,
    received: 0,
    normal: 0,
    duplicate: 0,
    remaining: 0,
    unnamed: 0,
    duplicates: 0,
    "written-bytes": 0,
    "main-bytes": 0,
    "preempt-bytes": 0,
  };
}
