/**
 * How fast the background stream alone moves memory, and what it costs: GB/s and CPU seconds a GB at
 * both ends, beside a plain TCP stream and beside placing alone.
 *
 * @module
 */

import type { SourceStatistics } from "../server/outgoing/statistics.ts";
import { FloorPair } from "./floors/floor_pair.ts";
import { type CpuPlacement, describePlacement } from "./support/cpu_placement.ts";
import { waitForIdleMachine } from "./support/cpu_time.ts";
import type { Link } from "./support/link.ts";
import { LINK_NAMES, withLinks } from "./support/links.ts";
import { describeMachine, formatMachine } from "./support/machine.ts";
import { markdownTable, significant } from "./support/markdown.ts";
import { type MigrationResult, runMigration } from "./support/migration_run.ts";
import {
  countOption,
  listOption,
  placementOption,
  type RawOptions,
  sizeOption,
} from "./support/options.ts";
import { print, progress } from "./support/progress.ts";
import { writeResults } from "./support/results.ts";
import { runBenchmark } from "./support/run.ts";
import { median, ratioOfPairs, type Spread, spread } from "./support/statistics.ts";
import { warmMemory } from "./support/warm_memory.ts";
import { WorkloadImages } from "./support/workload_images.ts";

const USAGE = `deno task bench:throughput [options]
  --link loopback,10g,1g                  default loopback; the others need root and iproute2
  --placement scheduler,one-cpu,two-cpus  default scheduler
  --size 2G     memory of the guest
  --repeat N    repetitions, default 5
  --quick       one repetition of 512M`;

/** Least rate on loopback with warm memory, bytes a second. */
const TARGET = 1e9;
/** An image whose migration costs little but the start of the processes. */
const SMALL_IMAGE = 1024 * 1024;
/** Bytes in a UFFDIO_COPY of the placing references: a page at a time, and many. */
const PLACING_BATCHES = [4096, 65536] as const;

/** Figures of one repetition, rates in bytes a second. */
interface Repetition {
  /** Page bytes moved over the time from the switchover to the end. */
  readonly stream: number;
  /** A plain TCP stream between two processes. */
  readonly tcp: number;
  /** UFFDIO_COPY on one thread, by the batches of {@linkcode PLACING_BATCHES}. */
  readonly placing: readonly number[];
  /** CPU seconds a GB. */
  readonly sourceCpu: number;
  /** CPU seconds a GB. */
  readonly destinationCpu: number;
}

/** CPU seconds of both ends that come from the start of the processes. */
interface StartCost {
  readonly source: number;
  readonly destination: number;
}

function streamSeconds(source: SourceStatistics): number {
  return (source["total-time"] - source["setup-time"]) / 1000;
}

/** The background stream, beside nothing. */
function move(link: Link, placement: CpuPlacement, image: string): Promise<MigrationResult> {
  return runMigration({ link, placement, image, mode: "preempt-full", maxBandwidth: 0 });
}

async function startCost(
  link: Link,
  placement: CpuPlacement,
  images: WorkloadImages,
): Promise<StartCost> {
  const image = await images.path(SMALL_IMAGE);
  const runs = [
    await move(link, placement, image),
    await move(link, placement, image),
    await move(link, placement, image),
  ];
  return {
    source: median(runs.map(({ sourceCpu }) => sourceCpu)),
    destination: median(runs.map(({ destination }) => destination.cpu)),
  };
}

async function repetition(
  link: Link,
  placement: CpuPlacement,
  image: string,
  size: number,
  start: StartCost,
): Promise<Repetition> {
  await using pair = await FloorPair.start(link, placement);
  const tcp = await pair.bulkRate(1000);
  const placing: number[] = [];
  for (const batch of PLACING_BATCHES) placing.push(await pair.fillRate(512 * 2 ** 20, batch));
  await pair.close();
  const { source, sourceCpu, destination } = await move(link, placement, image);
  const gigabytes = size / 1e9;
  const result: Repetition = {
    stream: size / streamSeconds(source),
    tcp,
    placing,
    sourceCpu: Math.max(0, sourceCpu - start.source) / gigabytes,
    destinationCpu: Math.max(0, destination.cpu - start.destination) / gigabytes,
  };
  const rates = [result.stream, tcp, ...placing].map((rate) => (rate / 1e9).toFixed(2));
  progress(`  stream ${rates[0]}, TCP ${rates[1]}, placing ${rates.slice(2).join(" and ")} GB/s`);
  return result;
}

interface Section {
  readonly link: string;
  readonly placement: CpuPlacement;
  readonly startCost: StartCost;
  readonly repetitions: readonly Repetition[];
}

function cells({ median, least, most }: Spread, scale = 1): string[] {
  return [median, least, most].map((value) => significant(value / scale));
}

function table({ repetitions }: Section): string {
  const of = (pick: (repetition: Repetition) => number) => repetitions.map(pick);
  const stream = of((each) => each.stream);
  const tcp = of((each) => each.tcp);
  return markdownTable(["", "median", "least", "most"], [
    ["background stream, GB/s", ...cells(spread(stream), 1e9)],
    ["plain TCP stream, GB/s", ...cells(spread(tcp), 1e9)],
    ...PLACING_BATCHES.map((batch, index) => [
      `UFFDIO_COPY of ${batch / 1024} KiB alone, GB/s`,
      ...cells(spread(of((each) => each.placing[index]!)), 1e9),
    ]),
    ["stream / plain TCP", ...cells(ratioOfPairs(stream, tcp))],
    ["stream / placing by page", ...cells(ratioOfPairs(stream, of((each) => each.placing[0]!)))],
    ["source, CPU s a GB", ...cells(spread(of((each) => each.sourceCpu)))],
    ["destination, CPU s a GB", ...cells(spread(of((each) => each.destinationCpu)))],
  ]);
}

async function main(options: RawOptions): Promise<void> {
  const quick = options["quick"] === true;
  const size = sizeOption(options, "size", (quick ? 512 : 2048) * 2 ** 20);
  const repeat = countOption(options, "repeat", quick ? 1 : 5);
  const links = listOption(options, "link", LINK_NAMES, ["loopback"]);
  using images = new WorkloadImages();
  const machine = await describeMachine();
  const image = await images.path(size);
  const warmth = warmMemory(size * 1.5);
  const idleness = await waitForIdleMachine(10);
  progress(`${formatMachine(machine)}; ${(idleness.idle * 100).toFixed(0)} % idle`);
  const sections: Section[] = [];
  const notes = await withLinks(links, async (link) => {
    for (const placement of placementOption(options, ["scheduler"])) {
      progress(`${link.name}, ${describePlacement(placement)}`);
      const start = await startCost(link, placement, images);
      const repetitions: Repetition[] = [];
      for (let run = 0; run < repeat; run++) {
        repetitions.push(await repetition(link, placement, image, size, start));
      }
      sections.push({ link: link.name, placement, startCost: start, repetitions });
    }
  });
  const content = { warmth, idleness, size, notes, sections };
  const path = await writeResults("throughput", machine, content);
  print(`${formatMachine(machine)}. ${size / 2 ** 20} MiB, ${repeat} repetitions, warm memory.`);
  for (const section of sections) {
    print(`\n### ${section.link}, ${describePlacement(section.placement)}\n\n${table(section)}`);
    if (section.link !== "loopback") continue;
    const rate = median(section.repetitions.map(({ stream }) => stream));
    const verdict = rate >= TARGET ? "met" : "MISSED";
    print(`\n- ${verdict}: at least 1.0 GB/s on loopback: ${significant(rate / 1e9)}`);
  }
  for (const note of notes) print(`- ${note}`);
  progress(`Results in ${path.pathname}`);
}

const valued = ["link", "placement", "size", "repeat"];
await runBenchmark({ usage: USAGE, valued, flags: ["quick"] }, main);
