/**
 * What dirty tracking costs: a writer beside it, and the time to find what was written.
 *
 * @module
 */

import { MappedMemory } from "../ffi/memory.ts";
import { DirtyThread, PAGE_BYTES, type Passes, type WriteOrder } from "./dirty/jobs.ts";
import { type DirtyPattern, measureScans, type ScanSamples } from "./dirty/scans.ts";
import { BATCH } from "./dirty/writer.ts";
import type { CpuPlacement } from "./support/cpu_placement.ts";
import { waitForIdleMachine } from "./support/cpu_time.ts";
import { describeMachine, formatMachine } from "./support/machine.ts";
import { markdownTable, significant } from "./support/markdown.ts";
import { countOption, placementOption, type RawOptions, sizeOption } from "./support/options.ts";
import { print, progress } from "./support/progress.ts";
import { writeResults } from "./support/results.ts";
import { runBenchmark } from "./support/run.ts";
import {
  median,
  ratioOfPairs,
  type Spread,
  summarise,
  type Summary,
} from "./support/statistics.ts";
import { warmMemory } from "./support/warm_memory.ts";

const USAGE = `deno task bench:dirty [options]
  --placement scheduler,one-cpu,two-cpus  default two-cpus: writer on CPU 0, collector on CPU 1
  --size 1G        memory tracked
  --scans N        scans of each kind, default 100
  --repeat N       repetitions of each writer, default 3
  --seconds N      length of one, default 3
  --quick          256M, 10 scans, one repetition of one second`;

/** Most time for a scan of a clean GiB, nanoseconds. */
const TARGET = 2e6;

const PATTERNS: readonly DirtyPattern[] = [
  { percent: 0, scattered: true },
  { percent: 1, scattered: true },
  { percent: 1, scattered: false },
  { percent: 10, scattered: true },
  { percent: 10, scattered: false },
  { percent: 100, scattered: false },
];

/** Milliseconds between collects. */
const INTERVALS = [1000, 100] as const;

/** A writer as fast as it can be. */
interface Writer {
  readonly order: WriteOrder;
  /** Share of the memory that it writes to. */
  readonly share: number;
}

const WRITERS: readonly Writer[] = [
  { order: "sequential", share: 1 },
  { order: "random", share: 1 },
  { order: "random", share: 1 / 16 },
];

interface ScanRow {
  readonly pattern: DirtyPattern;
  readonly samples: ScanSamples;
}

interface PassRow {
  readonly order: WriteOrder;
  /** Nanoseconds a write. */
  readonly off: Summary;
  readonly on: Summary;
  readonly stopped: Summary;
}

interface WriterRow {
  readonly placement: CpuPlacement;
  readonly writer: Writer;
  /** By repetition, writes a second. */
  readonly off: number[];
  /** By repetition, writes a second; by interval. */
  readonly on: number[][];
  /** Nanoseconds of a collect; by interval. */
  readonly collects: Summary[];
}

/** The CPUs of writer and collector; -1 for the scheduler's choice. */
function cpusOf(placement: CpuPlacement): readonly [writer: number, collector: number] {
  switch (placement) {
    case "scheduler":
      return [-1, -1];
    case "one-cpu":
      return [0, 0];
    case "two-cpus":
      return [0, 1];
  }
}

function describePlacement(placement: CpuPlacement): string {
  switch (placement) {
    case "scheduler":
      return "scheduler's choice";
    case "one-cpu":
      return "writer and collector on CPU 0";
    case "two-cpus":
      return "writer on CPU 0, collector on CPU 1";
  }
}

/** Writes a second over all batches. */
function rateOf(samples: Float64Array): number {
  return samples.length * 1e9 / samples.reduce((sum, sample) => sum + sample, 0);
}

/** Runs a writer beside a collector. */
async function tracked(
  memory: MappedMemory,
  pages: number,
  writer: Writer,
  placement: CpuPlacement,
  interval: number,
  milliseconds: number,
): Promise<{ rate: number; collects: Float64Array }> {
  const { address, length } = memory;
  const [cpu, collectorCpu] = cpusOf(placement);
  const end = new Int32Array(new SharedArrayBuffer(4));
  const block = { address, length, pageSize: PAGE_BYTES, firstPage: 0 };
  const collector = new DirtyThread({
    name: "collect",
    tracker: { blocks: [block], targetPageSize: PAGE_BYTES },
    pages: length / PAGE_BYTES,
    milliseconds: interval,
    end: end.buffer as SharedArrayBuffer,
    cpu: collectorCpu,
  });
  await collector.tracking;
  try {
    const { order } = writer;
    const job = { name: "write", address, pages, order, milliseconds, cpu } as const;
    const rate = rateOf(await new DirtyThread(job).samples());
    return { rate, collects: await ended() };
  } finally {
    await ended();
  }

  function ended(): Promise<Float64Array> {
    Atomics.store(end, 0, 1);
    Atomics.notify(end, 0);
    return collector.samples();
  }
}

async function measureWriter(
  memory: MappedMemory,
  writer: Writer,
  placement: CpuPlacement,
  repeat: number,
  milliseconds: number,
): Promise<WriterRow> {
  const pages = Math.floor(memory.length / PAGE_BYTES * writer.share);
  const [cpu] = cpusOf(placement);
  const { address } = memory;
  const { order } = writer;
  const row: WriterRow = { placement, writer, off: [], on: INTERVALS.map(() => []), collects: [] };
  const collects: number[][] = INTERVALS.map(() => []);
  for (let run = 0; run < repeat; run++) {
    const job = { name: "write", address, pages, order, milliseconds, cpu } as const;
    row.off.push(rateOf(await new DirtyThread(job).samples()));
    for (const [index, interval] of INTERVALS.entries()) {
      const result = await tracked(memory, pages, writer, placement, interval, milliseconds);
      row.on[index]!.push(result.rate);
      collects[index]!.push(...result.collects);
    }
  }
  row.collects.push(...collects.map(summarise));
  return row;
}

function milliseconds({ p50, p99 }: Summary): string {
  return `${significant(p50 / 1e6)} (${significant(p99 / 1e6)})`;
}

function nanoseconds({ p50, p99 }: Summary): string {
  return `${significant(p50)} (${significant(p99)})`;
}

function between({ median, least, most }: Spread): string {
  return `${significant(median)} (${significant(least)} to ${significant(most)})`;
}

function describePattern({ percent, scattered }: DirtyPattern): string {
  if (percent === 0) return "none";
  if (percent === 100) return "100 %";
  return `${percent} %, ${scattered ? "each alone" : "in one piece"}`;
}

function scanTable(rows: readonly ScanRow[]): string {
  const header = [
    "pages written",
    "collect",
    "PAGEMAP_SCAN",
    "UFFDIO_WRITEPROTECT",
    "collect / it",
  ];
  return markdownTable(
    header,
    rows.map(({ pattern, samples: { scan, collect, protect } }) => [
      describePattern(pattern),
      ...[collect, scan, protect].map((samples) => milliseconds(summarise(samples))),
      significant(median(collect) / median(protect)),
    ]),
  );
}

function passTable(rows: readonly PassRow[]): string {
  const header = ["order", "tracking off", "on", "on - off", "just stopped"];
  return markdownTable(
    header,
    rows.map(({ order, off, on, stopped }) => [
      order,
      nanoseconds(off),
      nanoseconds(on),
      significant(on.p50 - off.p50),
      nanoseconds(stopped),
    ]),
  );
}

function writerTable(rows: readonly WriterRow[], size: number): string {
  const header = ["writer", "off, million/s"];
  for (const interval of INTERVALS) {
    const every = interval === 1000 ? "1 s" : `${interval} ms`;
    header.push(`on, every ${every}`, "on / off", "collect, ms");
  }
  return markdownTable(
    header,
    rows.map(({ writer, off, on, collects }) => [
      `${writer.order}, ${size * writer.share / 2 ** 20} MiB`,
      significant(median(off) / 1e6),
      ...INTERVALS.flatMap((_, index) => [
        significant(median(on[index]!) / 1e6),
        between(ratioOfPairs(on[index]!, off)),
        milliseconds(collects[index]!),
      ]),
    ]),
  );
}

function summarisePasses(order: WriteOrder, { off, on, stopped }: Passes): PassRow {
  return { order, off: summarise(off), on: summarise(on), stopped: summarise(stopped) };
}

async function main(options: RawOptions): Promise<void> {
  const quick = options["quick"] === true;
  const size = sizeOption(options, "size", (quick ? 256 : 1024) * 2 ** 20);
  const scanCount = countOption(options, "scans", quick ? 10 : 100);
  const repeat = countOption(options, "repeat", quick ? 1 : 3);
  const length = countOption(options, "seconds", quick ? 1 : 3) * 1000 + 100;
  const machine = await describeMachine();
  const warmth = warmMemory(size * 1.2);
  const idleness = await waitForIdleMachine(10);
  progress(`${formatMachine(machine)}; ${(idleness.idle * 100).toFixed(0)} % idle`);
  using memory = MappedMemory.memfd(size, "postcopy-bench");
  memory.populate();

  const scans: ScanRow[] = [];
  for (const pattern of PATTERNS) {
    progress(`Scanning, written: ${describePattern(pattern)}`);
    scans.push({ pattern, samples: measureScans(memory, pattern, scanCount) });
  }
  const passes: PassRow[] = [];
  for (const order of ["sequential", "random"] as const) {
    progress(`Writing once to each page, ${order}`);
    const pages = size / PAGE_BYTES;
    const job = {
      name: "pass",
      address: memory.address,
      pages,
      order,
      passes: 10,
      cpu: 0,
    } as const;
    passes.push(summarisePasses(order, await new DirtyThread(job).passes()));
  }
  const writers: WriterRow[] = [];
  for (const placement of placementOption(options, ["two-cpus"])) {
    for (const writer of WRITERS) {
      progress(`Writing without pause, ${writer.order}, ${describePlacement(placement)}`);
      writers.push(await measureWriter(memory, writer, placement, repeat, length));
    }
  }

  const content = { warmth, idleness, size, scans, passes, writers };
  const path = await writeResults("dirty", machine, content);
  const name = `${size / 2 ** 20} MiB of a memfd`;
  print(`${formatMachine(machine)}. ${name}, warm memory; p50 (p99).\n`);
  print(`### Finding written pages, and protecting them again, ms\n\n${scanTable(scans)}\n`);
  const clean = median(scans[0]!.samples.collect) * 2 ** 30 / size;
  const verdict = clean <= TARGET ? "met" : "MISSED";
  print(`- ${verdict}: a clean GiB in less than 2 ms: ${significant(clean / 1e6)}\n`);
  print(`### First write to a page, ns, by batches of ${BATCH}\n\n${passTable(passes)}\n`);
  for (const placement of new Set(writers.map((row) => row.placement))) {
    const rows = writers.filter((row) => row.placement === placement);
    print(`### Writing without pause, ${describePlacement(placement)}\n`);
    print(`${writerTable(rows, size)}\n`);
  }
  progress(`Results in ${path.pathname}`);
}

const valued = ["placement", "size", "scans", "repeat", "seconds"];
await runBenchmark({ usage: USAGE, valued, flags: ["quick"] }, main);
