/** A session as the daemon tells it, for tests of how it is shown. */

import type { SessionView } from "../../daemon/service/session.ts";
import type { SourceStatistics } from "../../server/outgoing/statistics.ts";

/** What may be told otherwise. */
export interface SampleOptions extends Partial<Omit<SessionView, "statistics">> {
  /** Pages left of 1000, faults so far, and bytes sent. */
  readonly left?: number;
  readonly faults?: number;
  readonly bytes?: number;
}

/** Makes one that is sent. */
export function sampleSession(
  { left = 250, faults = 40, bytes = 3_000_000, ...told }: SampleOptions = {},
): SessionView {
  const statistics: SourceStatistics = {
    status: "postcopy-active",
    "total-time": 2000,
    "setup-time": 10,
    mode: "preempt-full",
    ram: {
      transferred: bytes,
      remaining: left * 4096,
      total: 1000 * 4096,
      duplicate: 0,
      normal: 1000 - left,
      "normal-bytes": (1000 - left) * 4096,
      mbps: 12,
      "page-size": 4096,
      "postcopy-requests": faults,
      "postcopy-bytes": faults * 4096,
    },
    threads: [],
    "requests-served": faults,
    "request-service-time": 25_000,
    "request-service-dist": [],
  };
  return {
    id: "vm-1",
    direction: "outgoing",
    image: "vm.img",
    peer: "tcp:192.0.2.1:4444",
    status: "postcopy-active",
    startedAt: "2026-01-01T00:00:00.000Z",
    notes: [],
    ...told,
    statistics,
  };
}
