/** The tables of bench:methods. */

import { markdownTable, significant } from "../support/markdown.ts";
import { median } from "../support/statistics.ts";
import { type MoveFigures, type WayName, WAYS } from "./way.ts";

/** One way's runs. */
export interface Row {
  readonly way: WayName;
  /** A run each. */
  readonly runs: readonly MoveFigures[];
}

/** All ways of one content over one link. */
export interface Section {
  readonly link: string;
  /** The content, by its name on the command line. */
  readonly content: string;
  /** What it is. */
  readonly description: string;
  /** Bytes of the guest. */
  readonly size: number;
  readonly rows: readonly Row[];
}

/** A figure of a run; undefined where it has none. */
export type Pick = (figures: MoveFigures) => number | undefined;

/** The median of a figure; undefined when no run has it. */
export function middle(runs: readonly MoveFigures[], pick: Pick): number | undefined {
  const values = runs.map(pick).filter((value) => value !== undefined);
  return values.length === 0 ? undefined : median(values);
}

function cell(runs: readonly MoveFigures[], pick: Pick, unit = 1): string {
  const value = middle(runs, pick);
  return value === undefined ? "-" : significant(value / unit);
}

/** Mbit/s of memory sent over the whole time. */
export const throughput: Pick = ({ transferred, total }) => transferred * 8 / total / 1000;

/** How the memory crossed the link by each way. */
export function methodsTable({ rows }: Section): string {
  const share: Pick = ({ linkUse }) => linkUse * 100;
  return markdownTable(
    [
      ...["", "total, s", "reported, s", "downtime, ms", "reported, ms", "sent, MB"],
      ...["throughput, Mbit/s", "link used, %", "CPU source, s", "CPU destination, s"],
    ],
    rows.map(({ way, runs }) => [
      WAYS[way].title,
      cell(runs, ({ total }) => total, 1000),
      cell(runs, ({ reportedTotal }) => reportedTotal, 1000),
      cell(runs, ({ downtime }) => downtime),
      cell(runs, ({ reportedDowntime }) => reportedDowntime),
      cell(runs, ({ transferred }) => transferred, 1e6),
      cell(runs, throughput),
      middle(runs, share)?.toFixed(1) ?? "-",
      cell(runs, ({ sourceCpu }) => sourceCpu),
      cell(runs, ({ destinationCpu }) => destinationCpu),
    ]),
  );
}

/** What the compression threads did, for the ways that have any. */
export function compressionTable({ rows }: Section): string {
  const compressed = rows.filter(({ way }) => WAYS[way].method !== undefined);
  return markdownTable(
    ["", "pages compressed", "to, MB", "compression rate", "busy rate"],
    compressed.map(({ way, runs }) => [
      WAYS[way].title,
      cell(runs, ({ compression }) => compression?.pages),
      cell(runs, ({ compression }) => compression?.compressedSize, 1e6),
      cell(runs, ({ compression }) => compression?.compressionRate),
      cell(runs, ({ compression }) => compression?.busyRate),
    ]),
  );
}

/** docs/benchmarks.md, published 4: 8 vCPUs, 32 GiB, 100 Mbit/s, the same threads and level. */
const PUBLISHED = {
  total: { zlib: 75256, zstd: 44187 },
  downtime: { zlib: 128, zstd: 81 },
  transferred: { zlib: 1576866, zstd: 736117 },
  throughput: { zlib: 172.06, zstd: 137.16 },
} as const;

/** The published table, and ours in its units beside it. */
export function publishedTable({ rows, size }: Section): string {
  const runsOf = (name: WayName): readonly MoveFigures[] =>
    rows.find(({ way }) => way === name)?.runs ?? [];
  const line = (title: string, { zlib, zstd }: { zlib: number; zstd: number }, pick: Pick) => {
    const ours = [middle(runsOf("zlib"), pick), middle(runsOf("zstd"), pick)] as const;
    const qemu = middle(runsOf("qemu-zlib"), pick);
    const text = (value: number | undefined): string =>
      value === undefined ? "-" : significant(value);
    return [
      ...[title, String(zlib), String(zstd), significant(zlib / zstd)],
      ...[text(qemu), text(ours[0]), text(ours[1])],
      ours[0] === undefined || ours[1] === undefined ? "-" : significant(ours[0] / ours[1]),
    ];
  };
  const total = String(size / 1024);
  return markdownTable(
    [
      ...["", "published zlib", "published zstd", "ratio"],
      ...["QEMU zlib here", "our zlib", "our zstd", "ratio"],
    ],
    [
      line("total time, ms", PUBLISHED.total, (each) => each.total),
      line("downtime, ms", PUBLISHED.downtime, (each) => each.downtime),
      line("transferred RAM, kB", PUBLISHED.transferred, (each) => each.transferred / 1024),
      line("throughput, Mbit/s", PUBLISHED.throughput, throughput),
      ["total RAM, kB", "33685952", "33685952", "1.00", total, total, total, "1.00"],
    ],
  );
}
