/** The tables of bench:compress: the rings beside the reference model, and what was published. */

import { markdownTable, significant } from "../support/markdown.ts";
import { median } from "../support/statistics.ts";
import type { Case, MoveFigures } from "./compressed_move.ts";
import { type PublishedFigures, publishedRow } from "./published.ts";

/** One case, a run each. */
export interface Row {
  readonly case: Case;
  readonly before: readonly MoveFigures[];
  readonly after: readonly MoveFigures[];
}

/** Whether every run came to its end. */
function completes(runs: readonly MoveFigures[]): boolean {
  return runs.length > 0 && runs.every(({ completed }) => completed);
}

/** The median of a figure; undefined without runs. */
function middle(
  runs: readonly MoveFigures[],
  pick: (each: MoveFigures) => number,
): number | undefined {
  return runs.length === 0 ? undefined : median(runs.map(pick));
}

/** Returns the median total time in seconds; undefined when not every run came to its end. */
export function seconds(runs: readonly MoveFigures[]): number | undefined {
  return completes(runs) ? median(runs.map(({ total }) => total)) / 1000 : undefined;
}

/** Total time of the reference model over that of the rings. */
export interface Speedup {
  readonly ratio: number;
  /** True when the reference model was cancelled at the limit: it would have taken longer. */
  readonly atLeast: boolean;
}

/** Returns how many times faster the rings are; undefined when they did not complete, or nothing was compared. */
export function speedup({ before, after }: Row): Speedup | undefined {
  const ours = seconds(after);
  const reference = middle(before, ({ total }) => total / 1000);
  if (ours === undefined || reference === undefined) return undefined;
  return { ratio: reference / ours, atLeast: !completes(before) };
}

function caseText({ threads, wait }: Case): string {
  return `${threads}, ${wait ? "on" : "off"}`;
}

function totalText(runs: readonly MoveFigures[]): string {
  if (runs.length === 0) return "-";
  const total = seconds(runs);
  if (total !== undefined) return significant(total);
  const done = runs.filter(({ completed }) => completed).length;
  return done === 0 ? "cannot complete" : `${done} of ${runs.length} complete`;
}

/** Writes it. */
export function speedupText(row: Row): string {
  const found = speedup(row);
  return found === undefined ? "-" : `${found.atLeast ? ">= " : ""}${significant(found.ratio)}`;
}

function publishedTotal(figures: PublishedFigures | undefined): string {
  if (figures === undefined) return "-";
  return figures.total === undefined ? "cannot complete" : significant(figures.total);
}

function publishedSpeedup(each: Case): string {
  const row = publishedRow(each);
  if (row?.before.total === undefined || row.after.total === undefined) return "-";
  return significant(row.before.total / row.after.total);
}

/** Total times, and the published ones. */
export function totalTable(rows: readonly Row[]): string {
  return markdownTable(
    [
      ...["threads, wait", "before, s", "after, s", "before / after"],
      ...["published: before, s", "after, s", "before / after"],
    ],
    rows.map((row) => [
      caseText(row.case),
      totalText(row.before),
      totalText(row.after),
      speedupText(row),
      publishedTotal(publishedRow(row.case)?.before),
      publishedTotal(publishedRow(row.case)?.after),
      publishedSpeedup(row.case),
    ]),
  );
}

const percent = (share: number): string => (share * 100).toFixed(1);

/** The least and the most that a compression thread took, per cent: medians of the runs'. */
function compressorsText(runs: readonly MoveFigures[]): string {
  const least = middle(runs, ({ compressors }) => Math.min(...compressors));
  const most = middle(runs, ({ compressors }) => Math.max(...compressors));
  return least === undefined ? "-" : `${percent(least)}-${percent(most!)}`;
}

/** Writes ours of both models, and the published ones in brackets. */
function pair(
  { before, after, case: each }: Row,
  ours: (runs: readonly MoveFigures[]) => string,
  published: (figures: PublishedFigures) => string,
): string {
  const row = publishedRow(each);
  const text = `${ours(before)} / ${ours(after)}`;
  return row === undefined ? text : `${text} (${published(row.before)} / ${published(row.after)})`;
}

function figureText(
  pick: (each: MoveFigures) => number,
  write: (value: number) => string,
): (runs: readonly MoveFigures[]) => string {
  return (runs) => {
    const value = middle(runs, pick);
    return value === undefined ? "-" : write(value);
  };
}

/** What the threads did, and the published figures. */
export function threadTable(rows: readonly Row[]): string {
  const range = ([least, most]: readonly [number, number]): string =>
    least === most ? `${least}` : `${least}-${most}`;
  return markdownTable(
    [
      "before / after (published)",
      "busy ratio",
      "sending thread, % CPU",
      "compression threads, % CPU",
    ],
    rows.map((row) => [
      caseText(row.case),
      pair(row, figureText(({ busy }) => busy, (busy) => busy.toFixed(2)), ({ busy }) => `${busy}`),
      pair(row, figureText(({ sender }) => sender, percent), ({ sender }) => `${sender}`),
      pair(row, compressorsText, ({ compressors }) => range(compressors)),
    ]),
  );
}

/** What went over, and what the guest did. */
export function workTable(rows: readonly Row[]): string {
  const one = (
    runs: readonly MoveFigures[],
    pick: (each: MoveFigures) => number | undefined,
  ): string => {
    const values = runs.map(pick).filter((value) => value !== undefined);
    return values.length === 0 ? "-" : significant(median(values));
  };
  const both = (
    { before, after }: Row,
    pick: (each: MoveFigures) => number | undefined,
  ): string => `${one(before, pick)} / ${one(after, pick)}`;
  return markdownTable(
    [
      ...[
        "before / after",
        "pages/s sent",
        "pages/s written",
        "sent, MB",
        "rounds",
        "downtime, ms",
      ],
    ],
    rows.map((row) => [
      caseText(row.case),
      both(row, ({ pagesPerSecond }) => pagesPerSecond),
      both(row, ({ written }) => written),
      both(row, ({ transferred }) => transferred / 1e6),
      both(row, ({ rounds }) => rounds),
      both(row, ({ downtime }) => downtime),
    ]),
  );
}
