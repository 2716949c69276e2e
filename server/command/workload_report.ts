/** How the live migration of a workload guest is told: as plain data for programs, as text for people. */

import { formatBytes, formatCount, formatDuration } from "../../migration/report/units.ts";
import { type CheckResult, isAllRight } from "../../workload/check.ts";
import type { WorkloadStatistics } from "../../workload/crew.ts";
import { lostWrites, wrongByteText } from "../../workload/verdict.ts";
import { liveSummaryText } from "./live_report.ts";
import type { LiveStatistics } from "../live/live_statistics.ts";

/** A line of `workload --json`. */
export type LiveWorkloadEvent =
  /** The guest runs here. */
  | {
    readonly event: "started";
    /** Its pages. */
    readonly pages: number;
    /** Nanoseconds that filling its memory took. */
    readonly fillTime: number;
  }
  /** The figures so far. */
  | ({ readonly event: "progress" } & LiveStatistics)
  /** The end. */
  | ({ readonly event: "result" } & LiveWorkloadResult);

/** The outcome of a migration. */
export interface LiveWorkloadResult {
  /** What the source counted. */
  readonly statistics: LiveStatistics;
  /** What the guest did here. */
  readonly workload: WorkloadStatistics;
  /** When the guest was told to stop, in nanoseconds of the host's monotonic clock; absent if it was not. */
  readonly stoppedAt?: number;
  /** Why the migration failed; absent when it did not. The name is QEMU's. */
  readonly "error-desc"?: string;
  /** The check of every byte of a guest that goes on here; absent when it runs at the destination. */
  readonly check?: CheckResult;
}

/** Reports whether the guest is as it must be, as far as can be seen here. */
export function isUnharmed({ workload, check }: LiveWorkloadResult): boolean {
  return workload.failures.length === 0 &&
    (check === undefined || isAllRight(check, workload.pages));
}

/** Tells that the guest runs. */
export function startedText(
  { pages, fillTime }: Extract<LiveWorkloadEvent, { event: "started" }>,
): string {
  const size = formatBytes(pages * 4096);
  return `Running a guest with ${size} of memory, filled in ${formatDuration(fillTime)}`;
}

/** Tells the outcome as lines of text. */
export function resultLines(result: LiveWorkloadResult): string[] {
  const { statistics, workload, check } = result;
  const wrong = [...workload.failures, ...check?.first === undefined ? [] : [check.first]];
  return [
    ...result["error-desc"] === undefined ? [liveSummaryText(statistics)] : [],
    ...check === undefined ? [] : [isUnharmed(result) ? unharmedText(result) : "Guest is harmed"],
    ...wrong.map(wrongByteText),
    ...check === undefined ? [] : lostWrites(check),
  ];
}

function unharmedText({ workload: { pages, accesses } }: LiveWorkloadResult): string {
  return `Guest went on here, unharmed: every byte of ${formatCount(pages)} pages is right after ` +
    `${formatCount(accesses)} accesses`;
}
