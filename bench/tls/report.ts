/** The tables of bench:tls. */

import type { Waits } from "../migrate/move.ts";
import { markdownTable, microseconds, significant } from "../support/markdown.ts";
import { median, spread } from "../support/statistics.ts";
import type { LibraryFigures, LibraryRow, Measured, MoveFigures, MoveRow } from "./figures.ts";
import { type Kind, PAIR_TITLES } from "./kind.ts";

/** Takes a figure out of a run; undefined where it has none. */
type Pick<Run> = (run: Run) => number | undefined;

function values<Run>(runs: readonly Run[], pick: Pick<Run>): number[] {
  return runs.map(pick).filter((value) => value !== undefined);
}

/** Median, or a dash where there is no figure. */
function middle<Run>(runs: readonly Run[], pick: Pick<Run>, text = significant): string {
  const found = values(runs, pick);
  return found.length === 0 ? "-" : text(median(found));
}

/** Median with the least and most of several runs. */
function ranged<Run>(runs: readonly Run[], pick: Pick<Run>, unit: number): string {
  const found = values(runs, pick).map((value) => value / unit);
  if (found.length === 0) return "-";
  const { median, least, most } = spread(found);
  if (found.length === 1) return significant(median);
  return `${significant(median)} (${significant(least)} to ${significant(most)})`;
}

const kindText = (kind: Kind): string => kind === "clear" ? "in clear" : kind;

function moveName({ pair, kind }: MoveRow): string {
  return `${PAIR_TITLES[pair]}, ${kindText(kind)}`;
}

function libraryName({ kind }: LibraryRow): string {
  return kind === "clear" ? "sockets alone, in clear" : `library alone, ${kind}`;
}

/** Throughput, what came before, and what it cost; the two plain processes first. */
export function streamTable({ library, moves }: Measured): string {
  const header = ["stream", "GB/s", "setup, ms", "source, CPU s a GB", "destination", "both"];
  const cost = <Run>(
    runs: readonly Run[],
    of: (run: Run) => { readonly sourceCpu: number; readonly destinationCpu: number },
  ): string[] => [
    middle(runs, (run) => of(run).sourceCpu),
    middle(runs, (run) => of(run).destinationCpu),
    middle(runs, (run) => of(run).sourceCpu + of(run).destinationCpu),
  ];
  return markdownTable(header, [
    ...library.map((row) => [
      libraryName(row),
      ranged(row.runs, ({ rate }) => rate, 1e9),
      "",
      ...cost<LibraryFigures>(row.runs, (run) => run),
    ]),
    ...moves.map((row) => [
      moveName(row),
      ranged(row.runs, ({ stream }) => stream.rate, 1e9),
      middle(row.runs, ({ stream }) => stream.setup),
      ...cost<MoveFigures>(row.runs, ({ stream }) => stream),
    ]),
  ]);
}

function waitCells<Run>(runs: readonly Run[], of: (run: Run) => Waits | undefined): string[] {
  return [
    middle(runs, (run) => of(run)?.count, (count) => count.toFixed(0)),
    middle(runs, (run) => of(run)?.mean, microseconds),
    middle(runs, (run) => of(run)?.p99, microseconds),
  ];
}

/** What is waited for a page, with both ends on one CPU; the two plain processes first. */
export function faultTable({ library, moves }: Measured): string {
  const header = [
    ...["us, both ends on CPU 0", "waits, no stream", "mean", "p99"],
    ...["waits, stream beside", "mean", "p99"],
  ];
  return markdownTable(header, [
    ...library.map((row) => [
      `${libraryName(row)}: request and 4 KiB`,
      ...waitCells(row.runs, ({ roundTrip }) => roundTrip),
      ...["", "", ""],
    ]),
    ...moves.map((row) => [
      moveName(row),
      ...waitCells(row.runs, ({ alone }) => alone),
      ...waitCells(row.runs, ({ beside }) => beside),
    ]),
  ]);
}
