/** What the latency benchmark found, as tables, histograms and targets. */

import { formatLatencyChart } from "../migration/report/latency_chart.ts";
import type { Mode } from "../server/sending/mode.ts";
import { type CpuPlacement, describePlacement } from "./support/cpu_placement.ts";
import { markdownTable, microseconds, significant } from "./support/markdown.ts";
import {
  median,
  overRepetitions,
  ratioOfPairs,
  type Spread,
  type Summary,
} from "./support/statistics.ts";

/** Order of accesses of the guest: each page once at random, or ascending. */
export type Order = "random" | "sequential";

/** What runs beside the requests. */
export type Beside = "bulk" | "idle";

/** One mode under one condition: figures by repetition, in nanoseconds. */
export interface LatencyRow {
  readonly order: Order;
  readonly beside: Beside;
  readonly mode: Mode;
  /** Latency of the accesses that waited for their page. */
  readonly waits: readonly Summary[];
  /** The same in power-of-two buckets of microseconds, all repetitions together. */
  readonly buckets: readonly number[];
  /** Mean request-to-page latency by the destination's own count (QEMU's `postcopy-latency`). */
  readonly reported: readonly number[];
  /** Bytes a second, of all channels, from the switchover to the end. */
  readonly rate: readonly number[];
}

/** The floors under one condition: figures by repetition, in nanoseconds. */
export interface FloorsRow {
  readonly beside: Beside;
  readonly request: readonly Summary[];
  readonly fault: readonly Summary[];
  /** Bytes a second of the plain bulk stream beside them. */
  readonly bulkRate: readonly number[];
}

/** Everything measured over one link at one CPU placement. */
export interface LatencySection {
  readonly link: string;
  /** Bits a second that the link is shaped to, 0 for none. */
  readonly rate: number;
  readonly placement: CpuPlacement;
  readonly floors: readonly FloorsRow[];
  readonly rows: readonly LatencyRow[];
}

/** Preempt-full's mean and median may exceed the sum of the floors by this factor. */
const FLOOR_FACTOR = 1.3;
/** On a shaped link with the background stream, vanilla must be slower by this factor. */
const VANILLA_FACTOR = 50;

function floorsOf(section: LatencySection, beside: Beside): FloorsRow {
  return section.floors.find((floors) => floors.beside === beside)!;
}

/** A latency by repetition, over the sum of the two floors of that repetition. */
function overFloors(row: LatencyRow, floors: FloorsRow, figure: "mean" | "p50"): Spread {
  return ratioOfPairs(
    row.waits.map((summary) => summary[figure]),
    floors.request.map((request, run) => request[figure] + floors.fault[run]![figure]),
  );
}

function preemptFull(section: LatencySection, row: LatencyRow): LatencyRow | undefined {
  return section.rows.find((other) =>
    other.mode === "preempt-full" && other.order === row.order && other.beside === row.beside
  );
}

/** How much slower a mode is than preempt-full under the same condition, by the mean. */
function overPreemptFull(section: LatencySection, row: LatencyRow): Spread | undefined {
  const best = preemptFull(section, row);
  if (best === undefined || best === row) return undefined;
  return ratioOfPairs(row.waits.map(({ mean }) => mean), best.waits.map(({ mean }) => mean));
}

/** Writes the table of one section, the floors first. */
export function latencyTable(section: LatencySection): string {
  const header = [
    "us",
    "waits",
    ...["mean", "p50", "p99", "max"],
    "MB/s",
    "/ floors, mean",
    "/ floors, p50",
    "/ preempt-full",
  ];
  const rows: string[][] = [];
  for (const floors of section.floors) {
    const beside = besideWords(floors.beside);
    const request = overRepetitions(floors.request);
    const fault = overRepetitions(floors.fault);
    const rate = floors.beside === "idle" ? "" : megabytes(floors.bulkRate);
    rows.push([`floor: TCP request and page, ${beside}`, ...cells(request), rate]);
    rows.push([`floor: local fault, ${beside}`, ...cells(fault), rate]);
    const sum = [request.mean + fault.mean, request.p50 + fault.p50].map(microseconds);
    rows.push([`sum of both, ${beside}`, "", ...sum, "", "", "", "1", "1"]);
  }
  for (const row of section.rows) {
    const floors = floorsOf(section, row.beside);
    const slower = overPreemptFull(section, row);
    rows.push([
      `${row.mode}, ${row.order}, ${besideWords(row.beside)}`,
      ...cells(overRepetitions(row.waits)),
      megabytes(row.rate),
      significant(overFloors(row, floors, "mean").median),
      significant(overFloors(row, floors, "p50").median),
      slower === undefined ? "" : significant(slower.median),
    ]);
  }
  return markdownTable(header, rows);
}

function besideWords(beside: Beside): string {
  return beside === "bulk" ? "stream beside" : "no stream";
}

function megabytes(rates: readonly number[]): string {
  return (median(rates) / 1e6).toFixed(0);
}

function cells({ count, mean, p50, p99, max }: Summary): string[] {
  return [String(count), ...[mean, p50, p99, max].map(microseconds)];
}

/** A target and what came of it. */
export interface TargetResult {
  /** What is asked for. */
  readonly target: string;
  /** What was measured: median, and the least and most of the repetitions. */
  readonly measured: Spread;
  /** Whether the median meets it. */
  readonly met: boolean;
}

/** Holds one section against the targets of the latency benchmark. */
export function latencyTargets(section: LatencySection): TargetResult[] {
  const results: TargetResult[] = [];
  const where = `${section.link}, ${describePlacement(section.placement)}`;
  for (const row of section.rows) {
    const condition = `${where}, ${row.order}, ${besideWords(row.beside)}`;
    if (row.mode === "preempt-full" && row.order === "random") {
      for (const figure of ["mean", "p50"] as const) {
        const measured = overFloors(row, floorsOf(section, row.beside), figure);
        const target = `${condition}: preempt-full's ${figure} <= ${FLOOR_FACTOR} x sum of floors`;
        results.push({ target, measured, met: measured.median <= FLOOR_FACTOR });
      }
    }
    const shaped = section.rate > 0 && row.beside === "bulk" && row.order === "random";
    if (row.mode === "vanilla" && shaped) {
      const measured = overPreemptFull(section, row);
      if (measured === undefined) continue;
      const target = `${condition}: vanilla's mean >= ${VANILLA_FACTOR} x preempt-full's`;
      results.push({ target, measured, met: measured.median >= VANILLA_FACTOR });
    }
  }
  return results;
}

/** Writes a target's line. */
export function formatTarget({ target, measured, met }: TargetResult): string {
  const { median, least, most } = measured;
  const range = `${significant(median)} (${significant(least)} to ${significant(most)})`;
  return `- ${met ? "met" : "MISSED"}: ${target}: ${range}`;
}

/** Draws the histograms of random accesses beside the stream, for a Markdown code block. */
export function latencyCharts(section: LatencySection): string {
  return section.rows
    .filter((row) => row.beside === "bulk" && row.order === "random")
    .map((row) => [`${row.mode}, waits by latency`, ...formatLatencyChart(row.buckets)].join("\n"))
    .join("\n\n");
}
