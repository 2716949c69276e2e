/** Sets of bytes as sorted runs. */

/** Bytes side by side. */
export interface Run {
  /** The first. */
  readonly start: number;
  /** The one after the last; more than the first. */
  readonly end: number;
}

/** Returns the bytes that are in any of the runs, which may overlap, as sorted runs with gaps between. */
export function union(runs: readonly Run[]): Run[] {
  const result: { start: number; end: number }[] = [];
  for (const { start, end } of runs.toSorted((a, b) => a.start - b.start)) {
    const last = result.at(-1);
    if (last === undefined || start > last.end) result.push({ start, end });
    else if (end > last.end) last.end = end;
  }
  return result;
}

/** Returns the bytes that are in the first set and not in the second; both must be sorted, with gaps. */
export function subtract(runs: readonly Run[], taken: readonly Run[]): Run[] {
  const result: Run[] = [];
  let next = 0;
  for (const run of runs) {
    let start = run.start;
    while (next < taken.length && taken[next]!.end <= start) next++;
    // The last one looked at may reach into the run after this one.
    for (let index = next; index < taken.length && taken[index]!.start < run.end; index++) {
      const hole = taken[index]!;
      if (hole.start > start) result.push({ start, end: hole.start });
      start = hole.end;
    }
    if (start < run.end) result.push({ start, end: run.end });
  }
  return result;
}
