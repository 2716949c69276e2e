/** The tables of bench:device-load, and the targets. */

import type { LoadTransaction } from "../../workload/machine/machine.ts";
import { markdownTable, significant } from "../support/markdown.ts";
import { median, ratioOfPairs, type Spread } from "../support/statistics.ts";
import type { Target } from "../support/target.ts";
import type { DowntimeFigures } from "./downtime.ts";
import { exponent } from "./fit.ts";
import type { CallFigures, ListenerFigures } from "./listeners.ts";
import { commitTime, type Loads, loadTime } from "./loads.ts";
import type { Published, SetUp, Sweep } from "./set_ups.ts";

/** Load time with a commit per change over that with one, at least. */
const RATIO = 2.5;
/** Growth that is still called linear. */
const EXPONENT = 1.1;

/** A set-up that was loaded. */
export interface LoadRow {
  readonly setUp: SetUp;
  readonly loads: Loads;
}

/** A sweep that was loaded. */
export interface SweepRows {
  readonly sweep: Sweep;
  readonly points: readonly { readonly count: number; readonly loads: Loads }[];
}

/** Moves of a set-up, by the way of loading. */
export interface MoveRow {
  readonly setUp: SetUp;
  /** How it moved. */
  readonly how: string;
  readonly moves: Readonly<Record<LoadTransaction, readonly DowntimeFigures[]>>;
}

function published({ before, after }: Published): string {
  return `${before} / ${after} = ${significant(before / after)}`;
}

function between({ median, least, most }: Spread): string {
  return `${significant(median)} (${significant(least)} to ${significant(most)})`;
}

/** Load time with a commit per change over that with one, load by load. */
export function loadRatio(loads: Loads): Spread {
  const times = (way: LoadTransaction) => loads[way].map(({ total }) => total);
  return ratioOfPairs(times("per-change"), times("one"));
}

/** How long the set-ups take to load. */
export function loadTable(rows: readonly LoadRow[]): string {
  return markdownTable(
    ["set-up", "per change, ms", "in commits", "one, ms", "in commits", "ratio", "published, ms"],
    rows.map(({ setUp, loads }) => [
      setUp.name,
      significant(loadTime(loads["per-change"])),
      significant(commitTime(loads["per-change"])),
      significant(loadTime(loads.one)),
      significant(commitTime(loads.one)),
      between(loadRatio(loads)),
      published(setUp.load),
    ]),
  );
}

/** What was done: the same in each load. Cells `per change / one`. */
export function countTable(rows: readonly LoadRow[]): string {
  return markdownTable(
    ["per change / one", "commits", "forced", "flat views built", "listener calls"],
    rows.map(({ setUp, loads }) => {
      const pair = (key: "commits" | "forced" | "rebuilds" | "listenerCalls") =>
        `${loads["per-change"][0]!.memory[key]} / ${loads.one[0]!.memory[key]}`;
      return [
        setUp.name,
        ...(["commits", "forced", "rebuilds", "listenerCalls"] as const).map(pair),
      ];
    }),
  );
}

/** Who forced commits in one transaction, a line each. */
export function forcedList(rows: readonly LoadRow[]): string {
  return rows.map(({ setUp, loads }) => {
    const { forcedBy, memory } = loads.one[0]!;
    const end = memory.commits > memory.forced
      ? "and one at the end"
      : "and none at the end: nothing had changed since";
    return [`- ${setUp.name}: ${forcedBy.length} forced, ${end}`]
      .concat(forcedBy.map((reader) => `  - ${reader}`)).join("\n");
  }).join("\n");
}

function timesOf({ points }: SweepRows, way: LoadTransaction): number[] {
  return points.map(({ loads }) => loadTime(loads[way]));
}

/** How load time grows. */
export function sweepTable(rows: SweepRows): string {
  const counts = rows.points.map(({ count }) => count);
  const half = Math.floor(counts.length / 2);
  const growth = (values: readonly number[], from = 0): string =>
    significant(exponent(counts.slice(from), values.slice(from)));
  const line = (way: LoadTransaction, name: string): string[] => {
    const times = timesOf(rows, way);
    return [name, ...times.map(significant), growth(times), growth(times, half)];
  };
  const calls = rows.points.map(({ loads }) => loads.one[0]!.memory.listenerCalls);
  return markdownTable(
    [
      `ms, ${rows.sweep.name}`,
      ...counts.map(String),
      "exponent",
      `from ${counts[half]}`,
    ],
    [
      line("per-change", "a commit per change"),
      line("one", "one transaction"),
      ["its listener calls", ...calls.map(String), growth(calls), growth(calls, half)],
    ],
  );
}

function middle(moves: readonly DowntimeFigures[], key: keyof DowntimeFigures): string {
  return significant(median(moves.map((move) => move[key])));
}

const PARTS = ["stop", "save", "transfer", "load", "commit", "start"] as const;

/** Downtimes and what they were spent on, medians in milliseconds. */
export function downtimeTable(rows: readonly MoveRow[]): string {
  return markdownTable(
    ["set-up", "loaded", "downtime", ...PARTS, "ratio", "published, ms"],
    rows.flatMap(({ setUp, how, moves }) => {
      const times = (way: LoadTransaction) => moves[way].map(({ downtime }) => downtime);
      const ratio = significant(ratioOfPairs(times("per-change"), times("one")).median);
      return (["per-change", "one"] as const).map((way) => [
        `${setUp.name}, ${how}`,
        way === "one" ? "one transaction" : "per change",
        middle(moves[way], "downtime"),
        ...PARTS.map((part) => middle(moves[way], part)),
        way === "one" ? ratio : "",
        way === "one" ? published(setUp.downtime) : "",
      ]);
    }),
  );
}

function calls(figures: CallFigures | undefined): string {
  if (figures === undefined) return "-";
  return `${significant(figures.add / 1000)} / ${significant(figures.remove / 1000)}`;
}

/** What listeners cost that tell the kernel, microseconds. */
export function listenerTable(figures: ListenerFigures): string {
  const { ranges, lookup, reverseLookup, table, userfault, slots, events } = figures;
  const rows = [
    ["guest address to host address, ns", significant(lookup)],
    ["host address to guest address, ns", significant(reverseLookup)],
    [`table of ${ranges} ranges, us`, significant(table / 1000)],
    ["userfaultfd range, register / unregister, us", calls(userfault)],
    ["KVM memory slot, set / delete, us", calls(slots)],
    ["KVM ioeventfd, assign / deassign, us", calls(events)],
  ];
  return markdownTable(["listeners with real ioctls", "median"], rows);
}

/** The targets. */
export function targets(rows: readonly LoadRow[], sweeps: readonly SweepRows[]): Target[] {
  const [first] = rows;
  const { median: value } = loadRatio(first!.loads);
  const what = `${first!.setUp.name}: one transaction loads at least ${RATIO} times as fast`;
  return [
    { what, value, met: value >= RATIO },
    ...sweeps.map((each) => {
      const counts = each.points.map(({ count }) => count);
      const value = exponent(counts, timesOf(each, "one"));
      const what = `load time grows linearly with ${each.sweep.name}, exponent at most ${EXPONENT}`;
      return { what, value, met: value <= EXPONENT };
    }),
  ];
}
