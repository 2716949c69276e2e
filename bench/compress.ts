/**
 * Multi-thread compression: the product's lockless rings beside a model with a lock for all, a lock
 * and one page for each thread, in the same migration of a guest that is written all the time.
 *
 * @module
 */

import { COMPRESSION_METHODS } from "../migration/compression.ts";
import {
  type Case,
  measureAllocation,
  moveCompressed,
  type Scene,
} from "./compress/compressed_move.ts";
import { PUBLISHED_MACHINE } from "./compress/published.ts";
import { type Row, threadTable, totalTable, workTable } from "./compress/report.ts";
import {
  type Allocation,
  ALLOCATION_PAGES,
  allocationTargets,
  compressTargets,
} from "./compress/targets.ts";
import { MODELS, type ThreadingModel } from "./compress/threading_model.ts";
import { describePlacement } from "./support/cpu_placement.ts";
import { waitForIdleMachine } from "./support/cpu_time.ts";
import { type Link, LOOPBACK } from "./support/link.ts";
import { LINK_NAMES, withLinks } from "./support/links.ts";
import { describeMachine, formatMachine } from "./support/machine.ts";
import {
  countOption,
  listOption,
  placementOption,
  type RawOptions,
  sizeOption,
  wordOption,
} from "./support/options.ts";
import { print, progress } from "./support/progress.ts";
import { writeResults } from "./support/results.ts";
import { runBenchmark } from "./support/run.ts";
import { warmMemory } from "./support/warm_memory.ts";
import { formatTarget } from "./support/target.ts";

const USAGE = `deno task bench:compress [options]
  --threads 4,8,16     compression threads; default all
  --wait off,on        whether a page waits for a thread; default both
  --model before,after   default both
  --method zlib        or zstd
  --size 256M          memory of the guest, which compresses to about a quarter
  --rate N             pages that the guest writes a second, in random order; default 50000
  --writers N          threads that write; default 4
  --bandwidth N        Mbit/s that the source sends at most over loopback; default 1000
  --link loopback      or 10g, 1g: a shaped link, without a limit of the source's; needs root and iproute2
  --decompress-threads N  default 2
  --runs N             of each model, in turn; default 3
  --limit SECONDS      a migration that has not converged by then is cancelled; default 30
  --placement scheduler  or two-cpus, one-cpu: where the ends run
  --part models,allocation  default both
  --quick              one run, a limit of 10 s, 4 and 16 threads, a tenth of the million pages`;

const THREADS = ["4", "8", "16"] as const;
const WAITS = ["off", "on"] as const;
const PARTS = ["models", "allocation"] as const;
const LEVEL = 1;
/** A guest's words repeat so often in a page. */
const REPEATS = 4;
/** Milliseconds in which 32 threads load on two cores. */
const WARM_UP = 2500;
/** Milliseconds, as QEMU's default. */
const DOWNTIME_LIMIT = 300;
/** Memory of both ends, over the guest's. */
const MEMORY_OF_RUN = 2.2;
/** The guest whose pages are compressed without end: small, and written faster than it is sent. */
const ALLOCATION_SIZE = 64 * 2 ** 20;
const ALLOCATION_RATE = 200_000;
const ALLOCATION_CASE: Case = { threads: 8, wait: true };
/** Share of the pages that go before the first look: until then code is compiled and buffers are made. */
const WARM_SHARE = 0.25;

interface Plan {
  readonly scene: Scene;
  readonly cases: readonly Case[];
  readonly models: readonly ThreadingModel[];
  readonly runs: number;
}

async function measureRow(each: Case, { scene, models, runs }: Plan): Promise<Row> {
  progress(`${each.threads} threads, wait ${each.wait ? "on" : "off"}`);
  const row: Record<ThreadingModel, Awaited<ReturnType<typeof moveCompressed>>[]> = {
    before: [],
    after: [],
  };
  for (let run = 0; run < runs; run++) {
    for (const model of run % 2 === 0 ? models : models.toReversed()) {
      // Runs that do not converge all end at the limit: one says as much as three.
      if (row[model].some(({ completed }) => !completed)) continue;
      const { idle } = await waitForIdleMachine(5);
      if (idle < 0.8) progress(`  the machine is ${(idle * 100).toFixed(0)} % idle`);
      const figures = await moveCompressed(scene, each, model);
      row[model].push(figures);
      const { completed, total, busy, pagesPerSecond, written } = figures;
      progress(
        `  ${model}: ${completed ? `${(total / 1000).toFixed(2)} s` : "cancelled"}, busy ` +
          `${busy.toFixed(2)}, ${pagesPerSecond.toFixed(0)} pages/s sent, ` +
          `${written.toFixed(0)} written`,
      );
    }
  }
  return { case: each, ...row };
}

async function measureAllocations(
  plan: Plan,
  methods: Scene["method"][],
  pages: number,
): Promise<Allocation[]> {
  const allocations: Allocation[] = [];
  for (const method of methods) {
    const growth: number[] = [];
    let least = Infinity;
    for (let run = 0; run < plan.runs; run++) {
      const scene: Scene = {
        ...plan.scene,
        method,
        link: LOOPBACK,
        size: ALLOCATION_SIZE,
        rate: ALLOCATION_RATE,
        maxBandwidth: 0,
        downtimeLimit: 0, // so that it never ends by itself
      };
      const warm = Math.ceil(pages * WARM_SHARE);
      const { before, after, pages: sent } = await measureAllocation(
        scene,
        ALLOCATION_CASE,
        warm,
        pages,
      );
      growth.push(after - before);
      least = Math.min(least, sent);
      progress(
        `${sent} pages with ${method}: ${((after - before) / 2 ** 20).toFixed(2)} MiB more than ` +
          `${(before / 2 ** 20).toFixed(0)}`,
      );
    }
    allocations.push({ method, pages: least, growth });
  }
  return allocations;
}

function readPlan(options: RawOptions): Omit<Plan, "scene"> & { scene: Omit<Scene, "link"> } {
  const quick = options["quick"] === true;
  const threads = listOption(options, "threads", THREADS, quick ? ["4", "16"] : THREADS);
  const waits = listOption(options, "wait", WAITS, WAITS);
  const shaped = wordOption(options, "link", LINK_NAMES) !== "loopback";
  return {
    cases: waits.flatMap((wait) =>
      threads.map((count) => ({ threads: Number(count), wait: wait === "on" }))
    ),
    models: listOption(options, "model", MODELS, MODELS),
    runs: countOption(options, "runs", quick ? 1 : 3),
    scene: {
      placement: placementOption(options, ["scheduler"])[0]!,
      size: sizeOption(options, "size", 256 * 2 ** 20),
      repeats: REPEATS,
      writers: countOption(options, "writers", 4),
      rate: countOption(options, "rate", 50_000),
      warmUp: WARM_UP,
      maxBandwidth: shaped ? 0 : countOption(options, "bandwidth", 1000) * 1e6 / 8,
      downtimeLimit: DOWNTIME_LIMIT,
      limit: countOption(options, "limit", quick ? 10 : 30) * 1000,
      method: wordOption(options, "method", ["zlib", "zstd"]),
      level: LEVEL,
      decompressThreads: countOption(options, "decompress-threads", 2),
    },
  };
}

async function main(options: RawOptions): Promise<void> {
  const quick = options["quick"] === true;
  const settings = readPlan(options);
  const linkName = wordOption(options, "link", LINK_NAMES);
  const parts = listOption(options, "part", PARTS, PARTS);
  const machine = await describeMachine();
  const { scene } = settings;
  const warmth = warmMemory(scene.size * MEMORY_OF_RUN);
  const idleness = await waitForIdleMachine(10);
  progress(`${formatMachine(machine)}; ${(idleness.idle * 100).toFixed(0)} % idle`);

  const rows: Row[] = [];
  const run = async (link: Link): Promise<void> => {
    const plan = { ...settings, scene: { ...scene, link } };
    for (const each of plan.cases) rows.push(await measureRow(each, plan));
  };
  const notes = await withLinks(parts.includes("models") ? [linkName] : [], run);
  const pages = quick ? ALLOCATION_PAGES / 10 : ALLOCATION_PAGES;
  const plan = { ...settings, scene: { ...scene, link: LOOPBACK } };
  const allocations = parts.includes("allocation")
    ? await measureAllocations(plan, [...COMPRESSION_METHODS], pages)
    : [];

  const targets = [...compressTargets(rows), ...allocationTargets(allocations)];
  const content = { ...settings, linkName, warmth, idleness, notes, targets, rows, allocations };
  const path = await writeResults("compress", machine, content);
  print(`${formatMachine(machine)}; ${describePlacement(scene.placement)}.\n`);
  if (rows.length > 0) print(`${describeScene(scene, linkName, settings.runs)}\n`);
  if (rows.length > 0) {
    print(`### Total time\n\n${totalTable(rows)}\n`);
    print(`### What the threads did\n\n${threadTable(rows)}\n`);
    print(`### What went over\n\n${workTable(rows)}\n`);
  }
  print([...targets.map(formatTarget), ...notes.map((line) => `- ${line}`)].join("\n"));
  progress(`Results in ${path.pathname}`);
}

/** The table's caption. */
function describeScene(scene: Omit<Scene, "link">, link: string, runs: number): string {
  const { size, rate, writers, maxBandwidth, method, decompressThreads, limit } = scene;
  const rateText = maxBandwidth === 0 ? "" : ` limited to ${maxBandwidth * 8 / 1e6} Mbit/s`;
  return `Median of ${runs} run(s), the models in turn; ${
    size / 2 ** 20
  } MiB without a zero page, ` +
    `of which ${writers} threads write ${rate} pages a second in random order; ${method}, level ` +
    `${LEVEL}; ${decompressThreads} decompression threads; ${link}${rateText}. Before: a lock for all, a ` +
    `lock and one page for each thread; after: the product's rings. A migration that has not converged ` +
    `after ${
      limit / 1000
    } s cannot complete. Per cent of the total time; compression threads: the least ` +
    `and the most busy one. Published: ${PUBLISHED_MACHINE}.`;
}

const valued = [
  "threads",
  "wait",
  "model",
  "method",
  "size",
  "rate",
  "writers",
  "bandwidth",
  "link",
  "decompress-threads",
  "runs",
  "limit",
  "placement",
  "part",
];
await runBenchmark({ usage: USAGE, valued, flags: ["quick"] }, main);
