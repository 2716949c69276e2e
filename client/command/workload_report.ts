/** How a migration of a workload guest is told: as plain data for programs, as text for people. */

import { formatLatencyChart } from "../../migration/report/latency_chart.ts";
import { percentile } from "../../migration/report/percentile.ts";
import { formatTable } from "../../migration/report/table.ts";
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatRate,
  formatShare,
} from "../../migration/report/units.ts";
import type { DecompressionStatistics } from "../decompression/decompression_threads.ts";
import type { ConnectionEvent } from "./connection_news.ts";
import type { DestinationStatistics } from "../statistics.ts";
import { type CheckResult, isAllRight } from "../../workload/check.ts";
import type { WorkloadStatistics } from "../../workload/crew.ts";
import type { WorkloadGuest } from "../../workload/workload_guest.ts";
import { lostWrites, wrongByteText, wrongText } from "../../workload/verdict.ts";

/** A line of `workload --json`. */
export type WorkloadEvent =
  /** Ready for a source at this address. */
  | { readonly event: "listening"; readonly address: string }
  /** The figures so far. */
  | ({ readonly event: "progress" } & WorkloadProgress)
  | ConnectionEvent
  /** The source went away; the guest's threads are held on what is missing. */
  | { readonly event: "paused"; readonly reason: string }
  /** The source has connected again. */
  | { readonly event: "resumed" }
  /** The end. */
  | ({ readonly event: "result" } & WorkloadResult);

/** The figures of a migration under way. */
export interface WorkloadProgress {
  /** What the destination counted. */
  readonly destination: DestinationStatistics;
  /** What the guest counted. */
  readonly workload: WorkloadStatistics;
  /** Why it is paused; absent when it is not. The name is QEMU's. */
  readonly "error-desc"?: string;
}

/** The outcome of a migration. */
export interface WorkloadResult extends WorkloadProgress {
  /** Exact percentiles of the guest's waits, in nanoseconds. */
  readonly percentiles: { readonly p50: number; readonly p99: number };
  /** The check of every byte. */
  readonly check: CheckResult;
  /** Nanoseconds that the check took. */
  readonly checkTime: number;
  /** When the guest was started here, in nanoseconds of the host's monotonic clock. */
  readonly startedAt: number;
}

/** Reports whether every byte was right, at every access and at the end. */
export function isRight({ workload, check }: WorkloadResult): boolean {
  return workload.failures.length === 0 && isAllRight(check, workload.pages);
}

/** The exact median and 99th percentile of a guest's waits. */
export function waitPercentiles(guest: WorkloadGuest): WorkloadResult["percentiles"] {
  const latencies = guest.latencies();
  return { p50: percentile(latencies, 0.5), p99: percentile(latencies, 0.99) };
}

/** Tells the figures so far on one line. */
export function progressText({ destination, workload, ...why }: WorkloadProgress): string {
  const { received, absent, pages, status } = destination;
  const seconds = destination["total-time"] / 1000;
  // Nothing comes any more: a mean of all the time would look as if it did.
  const paused = status === "postcopy-paused";
  return [
    paused ? `${status}: ${why["error-desc"]}` : status,
    ...pages === 0 ? [] : [
      `${formatShare(received + absent, pages)} of ${formatCount(pages)} pages here`,
      ...paused ? [] : [formatRate(seconds === 0 ? 0 : receivedBytes(destination) / seconds)],
      `${formatCount(workload.accesses)} accesses`,
      `${formatCount(workload.waits)} waited, ${formatDuration(workload.meanWait)} each`,
    ],
  ].join(", ");
}

/** Tells the outcome as lines of text: a table, a chart of latencies, and what was wrong. */
export function resultLines(result: WorkloadResult): string[] {
  const { destination, workload, percentiles, check } = result;
  const bytes = receivedBytes(destination);
  const seconds = destination["total-time"] / 1000;
  const run = destination["time-to-run"];
  const table = formatTable([
    ["Memory", formatBytes(workload.pages * 4096), `${formatCount(workload.pages)} pages`],
    ["Guest ran after", run === undefined ? "-" : formatDuration(run * 1e6)],
    ...downtimeRow(destination),
    [
      "All memory after",
      formatDuration(seconds * 1e9),
      `${formatRate(bytes / seconds)} on the wire`,
    ],
    ["Accesses", formatCount(workload.accesses), `${formatCount(workload.touched)} pages touched`],
    ["Waited for a page", formatCount(workload.waits), `${formatCount(destination.faults)} faults`],
    ["Wait, mean", formatDuration(workload.meanWait)],
    ["Wait, p50", formatDuration(percentiles.p50)],
    ["Wait, p99", formatDuration(percentiles.p99)],
    ["Wait, longest", formatDuration(workload.longestWait)],
    ["Fault to page, mean", formatDuration(destination["postcopy-latency"])],
    ...destination.decompression === undefined ? [] : [compressedRow(destination.decompression)],
    ["Check of every byte", formatDuration(result.checkTime), verdict(result)],
  ], { align: ["left", "right", "left"] });
  const wrong = [
    ...[...workload.failures, ...check.first === undefined ? [] : [check.first]].map(wrongByteText),
    ...lostWrites(check),
  ];
  return [
    ...table,
    ...workload.waits === 0 ? [] : [
      "",
      "How long the guest's threads waited for a page:",
      ...formatLatencyChart(workload.waitBuckets),
    ],
    ...wrong.length === 0 ? [] : ["", ...wrong],
  ];
}

function downtimeRow({ downtime, ...figures }: DestinationStatistics): string[][] {
  const parts = figures["downtime-parts"];
  if (downtime === undefined || parts === undefined) return [];
  const text = Object.entries(parts)
    .map(([part, milliseconds]) => `${part} ${formatDuration(milliseconds * 1e6)}`).join(", ");
  return [["Downtime seen here", formatDuration(downtime * 1e6), text]];
}

function compressedRow(figures: DecompressionStatistics): string[] {
  const size = formatBytes(figures["compressed-size"]);
  return ["Compressed pages", formatCount(figures.pages), `${size} of ${figures.method}`];
}

function verdict(result: WorkloadResult): string {
  if (isRight(result)) return "all right";
  return wrongText(result.check);
}

function receivedBytes(destination: DestinationStatistics): number {
  return destination["main-bytes"] + destination["preempt-bytes"] +
    (destination["multifd-bytes"] ?? 0);
}
