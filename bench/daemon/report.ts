/** Table and targets of bench:daemon. */

import { markdownTable, microseconds, significant } from "../support/markdown.ts";
import { median, overRepetitions, ratioOfPairs, type Summary } from "../support/statistics.ts";
import type { Target } from "../support/target.ts";
import type { DaemonRow } from "./measure.ts";

/** Latency of a daemon that is looked at over that of one that is not. */
const RATIO = 1.1;

/** Writes the figures. */
export function daemonTable(row: DaemonRow): string {
  const cells = (runs: readonly Summary[], cpu: readonly number[]): string[] => {
    const { p50, p99, max } = overRepetitions(runs);
    return [...[p50, p99, max].map(microseconds), significant(median(cpu) / 1e7)];
  };
  return markdownTable(["", "p50, us", "p99, us", "max, us", "daemon's processor, %"], [
    ["nobody looks", ...cells(row.quiet, row.quietCpu)],
    [`dashboard, metrics, ${row.clients} clients`, ...cells(row.watched, row.watchedCpu)],
  ]);
}

/** Holds the figures against what they must be. */
export function daemonTargets(row: DaemonRow): Target[] {
  return (["p50", "p99"] as const).map((figure) => {
    const of = (runs: readonly Summary[]) => runs.map((run) => run[figure]);
    const { median, least, most } = ratioOfPairs(of(row.watched), of(row.quiet));
    return {
      what:
        `${figure} of a page beside dashboard, metrics and ${row.clients} clients at most ${RATIO} of that ` +
        "without",
      value: median,
      met: median <= RATIO,
      because: `${significant(least)} to ${significant(most)}`,
    };
  });
}
