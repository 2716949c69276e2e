/** The targets of bench:compress. */

import { significant } from "../support/markdown.ts";
import { median } from "../support/statistics.ts";
import type { Target } from "../support/target.ts";
import { type Row, seconds, speedup, speedupText } from "./report.ts";

/** Total time of more threads over that of the fewest, at most, to be called equal. */
const HOLDS = 1.2;
/** How many times faster than the reference model, at least, with {@linkcode MOST_THREADS} and wait off. */
const FASTER = 3;
const MOST_THREADS = 16;
/** Bytes that the process may grow by. */
const GROWTH = 8 * 2 ** 20;
/** Pages for which that holds. */
export const ALLOCATION_PAGES = 1e6;

/** Total time with more threads over that with the fewest, at most; Infinity when one did not complete. */
function worstOverFewest(rows: readonly Row[]): number {
  const [first, ...more] = rows.toSorted((a, b) => a.case.threads - b.case.threads)
    .map(({ after }) => seconds(after) ?? Infinity);
  return first === Infinity ? Infinity : Math.max(...more) / first!;
}

/** The targets that the rows allow to be judged. */
export function compressTargets(rows: readonly Row[]): Target<string>[] {
  const targets: Target<string>[] = [];
  for (const wait of [false, true]) {
    const group = rows.filter((row) => row.case.wait === wait && row.after.length > 0);
    if (group.length < 2) continue;
    const worst = worstOverFewest(group);
    targets.push({
      what: `total time falls or holds as threads are added, wait ${wait ? "on" : "off"} ` +
        `(at most ${HOLDS} times that of the fewest)`,
      value: worst === Infinity ? "not all complete" : significant(worst),
      met: worst <= HOLDS,
    });
  }
  const most = rows.find((row) => row.case.threads === MOST_THREADS && !row.case.wait);
  const faster = most === undefined ? undefined : speedup(most);
  if (faster !== undefined) {
    targets.push({
      what: `with ${MOST_THREADS} threads, wait off, at least ${FASTER} times faster than before`,
      value: speedupText(most!),
      met: faster.ratio >= FASTER,
    });
  }
  return targets;
}

/** Bytes that compressing and sending took, by method. */
export interface Allocation {
  readonly method: string;
  readonly pages: number;
  /** Growth of the process in bytes, a run each. */
  readonly growth: readonly number[];
}

/** The target for what compressing allocates. */
export function allocationTargets(allocations: readonly Allocation[]): Target<string>[] {
  return allocations.map(({ method, pages, growth }) => ({
    what:
      `${pages} pages compressed with ${method} and sent grow the source's process by less than ` +
      `${GROWTH / 2 ** 20} MiB`,
    value: `${growth.map((bytes) => (bytes / 2 ** 20).toFixed(1)).join(", ")} MiB`,
    met: pages < ALLOCATION_PAGES ? undefined : median(growth) < GROWTH,
  }));
}
