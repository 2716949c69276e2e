/** The figures of an outgoing migration that has not begun. */

import { LATENCY_BUCKETS } from "../../migration/threads/histogram.ts";
import type { SourceStatistics, SourceStatus } from "../../server/outgoing/statistics.ts";

/**
 * Returns figures of which none is known: the image is not open.
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
