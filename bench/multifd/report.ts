/** The tables and targets of bench:multifd. */

import { markdownTable, significant } from "../support/markdown.ts";
import { median, ratioOfPairs } from "../support/statistics.ts";
import type { Target } from "../support/target.ts";
import {
  formatPoint,
  type MoveFigures,
  type Pair,
  PAIR_TITLES,
  PAIRS,
  type Point,
  type Row,
  type Section,
} from "./point.ts";

/** Throughput over QEMU's with as many channels, at least. */
const QEMU_RATIO = 1;
/** The same of zstd on {@linkcode ZSTD_CHANNELS} channels over a link of 1 Gbit/s. */
const ZSTD_RATIO = 1.3;
const ZSTD_CHANNELS = 2;
const ZSTD_LINK = "veth 1 Gbit/s";

type Pick = (run: MoveFigures) => number;

const rate: Pick = (run) => run.rate / 1e9;
const cpu: Pick = (run) => run.sourceCpu + run.destinationCpu;

/** The points of a section, each once, in their order. */
function pointsOf({ rows }: Section): Point[] {
  const names = new Map(rows.map(({ point }) => [formatPoint(point), point]));
  return [...names.values()];
}

function rowOf({ rows }: Section, point: Point, pair: Pair): Row | undefined {
  const name = formatPoint(point);
  return rows.find((row) => row.pair === pair && formatPoint(row.point) === name);
}

/** The median of ours over QEMU's, run by run; undefined where one of them was not measured, or not as often. */
export function ratio(
  section: Section,
  point: Point,
  pick: Pick,
  pair: Pair = "ours",
): number | undefined {
  const ours = rowOf(section, point, pair)?.runs ?? [];
  const qemu = rowOf(section, point, "qemu")?.runs ?? [];
  if (ours.length === 0 || ours.length !== qemu.length) return undefined;
  const { median } = ratioOfPairs(ours.map(pick), qemu.map(pick));
  return Number.isFinite(median) ? median : undefined;
}

/** A figure of all pairs at all points; behind each the ratio to QEMU's. */
function table(section: Section, unit: string, pick: Pick, points = pointsOf(section)): string {
  const pairs = PAIRS.filter((pair) => section.rows.some((row) => row.pair === pair));
  const header = [unit, ...pairs.map((pair) => PAIR_TITLES[pair])];
  return markdownTable(
    header,
    points.map((point) => [
      formatPoint(point),
      ...pairs.map((pair) => {
        const values = (rowOf(section, point, pair)?.runs ?? []).map(pick).filter(Number.isFinite);
        if (values.length === 0) return "-";
        const text = significant(median(values));
        const over = pair === "qemu" ? undefined : ratio(section, point, pick, pair);
        return over === undefined ? text : `${text} (${significant(over)})`;
      }),
    ]),
  );
}

/** GB of the guest's memory a second. */
export function rateTable(section: Section): string {
  return table(section, "GB/s (over QEMU's)", rate);
}

/** CPU seconds of both ends for a GB of the guest's memory. */
export function cpuTable(section: Section): string {
  return table(section, "CPU s a GB, both ends", cpu);
}

/** How much went over the wire for each byte of memory. */
export function bytesTable(section: Section): string {
  return table(section, "bytes sent a byte", (run) => run.transferred / section.size);
}

/** How much of what the guest was to write meanwhile it has written, percent; without any that writes, nothing. */
export function writtenTable(section: Section): string {
  const points = pointsOf(section).filter(({ guest }) => guest !== "rest");
  if (points.length === 0) return "";
  const written: Pick = (run) => run.written === undefined ? NaN : run.written * 100;
  return table(section, "the guest wrote, % of what it was to", written, points);
}

/** The targets for a link: those for which both were measured as often. */
export function multifdTargets(section: Section): Target[] {
  const { link } = section;
  return pointsOf(section).flatMap((point) => {
    const value = ratio(section, point, rate);
    if (value === undefined) return [];
    const name = `${link}, ${formatPoint(point)}`;
    const what = `${name}: at least QEMU's throughput with as many channels`;
    const targets: Target[] = [{ what, value, met: value >= QEMU_RATIO }];
    const { channels, compression } = point;
    if (link === ZSTD_LINK && compression === "zstd" && channels === ZSTD_CHANNELS) {
      const more = `${name}: at least ${ZSTD_RATIO} times QEMU's throughput`;
      targets.push({ what: more, value, met: value >= ZSTD_RATIO });
    }
    return targets;
  });
}
