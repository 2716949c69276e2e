/** Sessions as a daemon tells of them, with figures that a test chooses. */

import type { SessionView } from "../../daemon/service/session.ts";
import type { SourceStatistics } from "../../server/outgoing/statistics.ts";

/** What a test says of an outgoing session's figures; the rest is 0. */
export interface ChosenFigures {
  readonly background?: number;
  readonly urgent?: number;
  readonly multifd?: number;
  readonly requests?: number;
  /** Counts of the latency buckets, from the first. */
  readonly buckets?: readonly number[];
  /** Nanoseconds of all of them together. */
  readonly took?: number;
  readonly order?: SourceStatistics["order"];
  readonly remaining?: number;
}

/** An outgoing session's figures. */
export function sourceFigures(chosen: ChosenFigures = {}): SourceStatistics {
  const { background = 0, urgent = 0, multifd, requests = 0, took = 0, order } = chosen;
  const buckets = Array.from({ length: 24 }, (_, bucket) => chosen.buckets?.[bucket] ?? 0);
  const served = buckets.reduce((sum, count) => sum + count, 0);
  return {
    status: "postcopy-active",
    "total-time": 5000,
    "setup-time": 3,
    mode: "preempt-full",
    ram: {
      transferred: background + urgent + (multifd ?? 0),
      remaining: chosen.remaining ?? 0,
      total: 1 << 20,
      duplicate: 4,
      normal: 11,
      "normal-bytes": 11 * 4096,
      mbps: 1,
      "page-size": 4096,
      "postcopy-requests": requests,
      "postcopy-bytes": urgent,
    },
    ...multifd === undefined
      ? {}
      : { multifd: { channels: 2, compression: "none", bytes: multifd } },
    ...order === undefined ? {} : { order },
    threads: [
      { name: "background", "cpu-time": 1500 },
      { name: "compress-0", "cpu-time": 100 },
      { name: "compress-1", "cpu-time": 200 },
    ],
    "requests-served": served,
    "request-service-time": served === 0 ? 0 : took / served,
    "request-service-dist": buckets,
  };
}

/** An outgoing session that runs. */
export function outgoingView(more: Partial<SessionView> = {}): SessionView {
  return {
    id: "a1",
    direction: "outgoing",
    image: "vm",
    peer: "tcp:127.0.0.1:4444",
    status: "postcopy-active",
    startedAt: "2026-11-29T12:00:00.000Z",
    statistics: sourceFigures(),
    notes: [],
    ...more,
  };
}
