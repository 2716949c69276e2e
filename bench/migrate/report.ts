/** The tables of bench:migrate: ours beside QEMU's, and the targets. */

import { markdownTable, significant } from "../support/markdown.ts";
import { median, ratioOfPairs } from "../support/statistics.ts";
import type { Target } from "../support/target.ts";
import type { MoveFigures, Waits } from "./move.ts";
import { formatScenario, type Scenario } from "./scenario.ts";

/** Total time and downtime over QEMU's, at most. */
const TIME_RATIO = 1;
/** Throughput over that of QEMU's single stream, at least. */
const THROUGHPUT_RATIO = 1.5;

/** One scenario, both sides run in turn. */
export interface Row {
  readonly scenario: Scenario;
  /** By our source and destination, a run each. */
  readonly ours: readonly MoveFigures[];
  /** By QEMU, a run each. */
  readonly qemu: readonly MoveFigures[];
}

/** All scenarios over one link. */
export interface Section {
  readonly link: string;
  /** Bytes of the guest. */
  readonly size: number;
  readonly rows: readonly Row[];
}

/** A guest at rest over an unshaped link. */
export interface ThroughputRow {
  /** `"precopy"` or `"postcopy"`. */
  readonly way: string;
  /** Bytes of the guest. */
  readonly size: number;
  readonly ours: readonly MoveFigures[];
  readonly qemu: readonly MoveFigures[];
}

type Pick = (each: MoveFigures) => number | undefined;

function values(runs: readonly MoveFigures[], pick: Pick): number[] {
  return runs.map(pick).filter((value) => value !== undefined);
}

/** Median, or a dash where there is no figure. */
function middle(runs: readonly MoveFigures[], pick: Pick): string {
  const found = values(runs, pick);
  return found.length === 0 ? "-" : significant(median(found));
}

/** The median of ours over QEMU's, run by run; undefined when a run of either has no figure. */
export function ratio({ ours, qemu }: Omit<Row, "scenario">, pick: Pick): number | undefined {
  const [a, b] = [values(ours, pick), values(qemu, pick)];
  if (a.length === 0 || a.length !== b.length || a.length !== ours.length) return undefined;
  return ratioOfPairs(a, b).median;
}

function pair(row: Omit<Row, "scenario">, pick: Pick): string {
  return `${middle(row.ours, pick)} / ${middle(row.qemu, pick)}`;
}

function withRatio(row: Omit<Row, "scenario">, pick: Pick): string {
  const value = ratio(row, pick);
  return value === undefined ? pair(row, pick) : `${pair(row, pick)} (${significant(value)})`;
}

const total: Pick = (each) => each.completed ? each.total / 1000 : undefined;
const downtime: Pick = (each) => each.downtime;
const reported: Pick = (each) => each.reported;
const transferred: Pick = (each) => each.transferred / 1e9;
const rounds: Pick = (each) => each.rounds;

function isCancelled(runs: readonly MoveFigures[]): boolean {
  return runs.length > 0 && runs.every(({ completed }) => !completed);
}

function totalCell(row: Row): string {
  const [ours, qemu] = [isCancelled(row.ours), isCancelled(row.qemu)];
  if (!ours && !qemu) return withRatio(row, total);
  const text = (cancelled: boolean, runs: readonly MoveFigures[]): string =>
    cancelled ? "never" : middle(runs, total);
  return `${text(ours, row.ours)} / ${text(qemu, row.qemu)}`;
}

/** How the migrations went: each cell `ours / QEMU (ratio)`. */
export function migrationTable({ rows }: Section): string {
  return markdownTable(
    ["ours / QEMU", "total, s", "downtime, ms", "as reported, ms", "sent, GB", "rounds"],
    rows.map((row) => [
      formatScenario(row.scenario),
      totalCell(row),
      withRatio(row, downtime),
      pair(row, reported),
      pair(row, transferred),
      pair(row, rounds),
    ]),
  );
}

const waited = (pick: (waits: Waits) => number): Pick => ({ waits }) =>
  waits === undefined ? undefined : pick(waits) / 1e6;

/** What the guests wrote and waited. */
export function guestTable({ rows }: Section): string {
  return markdownTable(
    [
      ...["ours / QEMU", "pages/s at source", "at destination", "waits"],
      ...["mean wait, ms", "p99, ms", "CPU source, s", "CPU destination, s"],
    ],
    rows.map((row) => [
      formatScenario(row.scenario),
      pair(row, (each) => each.sourceRate),
      pair(row, (each) => each.destinationRate),
      pair(row, ({ waits }) => waits?.count),
      pair(row, waited(({ mean }) => mean)),
      pair(row, waited(({ p99 }) => p99)),
      pair(row, (each) => each.sourceCpu),
      pair(row, (each) => each.destinationCpu),
    ]),
  );
}

/** GB of the guest's memory that arrived a second. */
const throughput = (size: number): Pick => (each) => size / each.total / 1e6;

/** How fast a guest at rest moves. */
export function throughputTable(rows: readonly ThroughputRow[]): string {
  return markdownTable(
    ["ours / QEMU", "GB/s", "downtime, ms", "CPU source, s", "CPU destination, s"],
    rows.map((row) => [
      row.way,
      withRatio(row, throughput(row.size)),
      withRatio(row, downtime),
      pair(row, (each) => each.sourceCpu),
      pair(row, (each) => each.destinationCpu),
    ]),
  );
}

/** The targets for the scenarios of a link. */
export function migrationTargets({ link, rows }: Section): Target[] {
  return rows.flatMap((row) => {
    const name = `${link}, ${formatScenario(row.scenario)}`;
    const targets: Target[] = [];
    for (const [what, pick] of [["total time", total], ["downtime", downtime]] as const) {
      const value = ratio(row, pick);
      if (value === undefined) continue;
      const text = `${name}: ${what} no worse than QEMU's`;
      targets.push({ what: text, value, met: value <= TIME_RATIO });
    }
    return targets;
  });
}

/** The targets for a guest at rest. */
export function throughputTargets(rows: readonly ThroughputRow[]): Target[] {
  return rows.flatMap((row) => {
    const value = ratio(row, throughput(row.size));
    if (value === undefined) return [];
    const what = `throughput at least 1.5 times QEMU's single stream, ${row.way}`;
    return [{ what, value, met: value >= THROUGHPUT_RATIO }];
  });
}
