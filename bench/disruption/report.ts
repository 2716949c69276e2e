/** The tables of bench:disruption: `serve` beside QEMU, a guest and a background rate a row. */

import { markdownTable, significant } from "../support/markdown.ts";
import { median } from "../support/statistics.ts";
import type { Figures } from "./figures.ts";
import {
  guestTitle,
  limitTitle,
  type Lost,
  lostIn,
  type Pick,
  type Row,
  type Side,
  valuesOf,
} from "./row.ts";
import { undisturbed } from "./work_lost.ts";

const HEADER = [
  "ours / QEMU",
  "background",
  "work lost, ms",
  "floor, ms",
  "blocktime, ms",
  "mean fault, us",
  "faults",
  "runs after, ms",
  "done in, s",
  "CPU source, s",
  "CPU destination, s",
];

const scaled = (pick: Pick, divisor: number): Pick => (figures) => {
  const value = pick(figures);
  return value === undefined ? undefined : value / divisor;
};

const PICKS: readonly Pick[] = [
  ({ blocktime }) => blocktime,
  scaled(({ latency }) => latency, 1000),
  ({ faults }) => faults,
  ({ running }) => running,
  scaled(({ total }) => total, 1000),
  ({ sourceCpu }) => sourceCpu,
  ({ destinationCpu }) => destinationCpu,
];

function middle(values: readonly number[] | undefined): string {
  return values === undefined || values.length === 0 ? "-" : significant(median(values));
}

function lineOf(row: Row, lost: Lost, side: Side): string[] {
  const title = side === "again"
    ? `${guestTitle(row.guest)}, second restore`
    : guestTitle(row.guest);
  const floor = lost.ourFloor.length === 0
    ? middle(lost.floor)
    : `${middle(lost.ourFloor)} / ${middle(lost.floor)}`;
  return [
    title,
    limitTitle(row.limit),
    `${middle(lost[side])} / ${middle(lost.qemu)}`,
    floor,
    ...PICKS.map((pick) =>
      `${middle(valuesOf(row[side], pick))} / ${middle(valuesOf(row.qemu, pick))}`
    ),
  ];
}

/** Shows rows of one placement: medians of the runs. Work lost is not yet net of the floor. */
export function disruptionTable(rows: readonly Row[]): string {
  const lines = rows.flatMap((row) => {
    const lost = lostIn(row);
    const sides = (["serve", "again"] as const).filter((side) => row[side].length > 0);
    return sides.map((side) => lineOf(row, lost, side));
  });
  return markdownTable(HEADER, lines);
}

/** What is undisturbed: of ours and of QEMU's guest where they are not the same. */
function usualPace({ guest, floor, ourFloor }: Row): string {
  const usual = (runs: readonly Figures[]): number => undisturbed(runs.map(({ seen }) => seen));
  if (guest === "script") return `${significant(usual(floor))} ms`;
  const paces = [ourFloor, floor].filter(({ length }) => length > 0).map(usual);
  return `${paces.map((pace) => significant(pace * 1000)).join(" / ")} /s`;
}

/** Says how far the runs lie apart, and what is undisturbed. */
export function spreadTable(rows: readonly Row[]): string {
  const range = (values: readonly number[]): string =>
    values.length === 0
      ? "-"
      : `${significant(Math.min(...values))} to ${significant(Math.max(...values))}`;
  return markdownTable(
    [
      "work lost, ms, least to most",
      "background",
      "floor",
      "QEMU",
      "serve",
      "second",
      "undisturbed",
    ],
    rows.map((row) => {
      const lost = lostIn(row);
      return [
        guestTitle(row.guest),
        limitTitle(row.limit),
        range([...lost.floor, ...lost.ourFloor]),
        range(lost.qemu),
        range(lost.serve),
        range(lost.again),
        usualPace(row),
      ];
    }),
  );
}
