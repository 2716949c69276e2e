/**
 * How long a guest waits for a page it touches, in the three modes, beside the floors of the same
 * run: the table of QEMU's preempt-full series, for this machine.
 *
 * @module
 */

import { LATENCY_BUCKETS } from "../migration/threads/histogram.ts";
import { type Mode, MODES } from "../server/sending/mode.ts";
import { FloorPair } from "./floors/floor_pair.ts";
import {
  type Beside,
  type FloorsRow,
  formatTarget,
  latencyCharts,
  type LatencyRow,
  type LatencySection,
  latencyTable,
  latencyTargets,
  type Order,
} from "./latency_report.ts";
import { CPU_PLACEMENTS, type CpuPlacement, describePlacement } from "./support/cpu_placement.ts";
import { waitForIdleMachine } from "./support/cpu_time.ts";
import type { Link } from "./support/link.ts";
import { LINK_NAMES, linkRate, withLinks } from "./support/links.ts";
import { describeMachine, formatMachine } from "./support/machine.ts";
import { runMigration } from "./support/migration_run.ts";
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
import { summarise, type Summary } from "./support/statistics.ts";
import { warmMemory } from "./support/warm_memory.ts";
import { WorkloadImages } from "./support/workload_images.ts";

const USAGE = `deno task bench:latency [options]
  --link loopback,10g,1g                  default all; the last two need root and iproute2
  --placement scheduler,one-cpu,two-cpus  default all on loopback, else two-cpus
  --mode preempt-full,preempt,vanilla     default all
  --order random,sequential               default both
  --size 1G     memory of the guest; a quarter of it on the slowest link
  --threads N   threads of the guest, default 1
  --repeat N    repetitions, default 3
  --quick       one repetition of 256M`;

/** Bandwidth that holds the background stream off: 16 pages a second. */
const HELD_OFF = 64 * 1024;
/** Without the stream every page waits for its own request: less memory gives samples enough. */
const IDLE_SHARE = 16;

interface Plan {
  readonly size: number;
  readonly repeat: number;
  readonly threads: number;
  readonly modes: readonly Mode[];
  readonly orders: readonly Order[];
  readonly images: WorkloadImages;
}

function wholePages(bytes: number): number {
  return Math.ceil(bytes / 4096) * 4096;
}

/** A condition under which latency is measured, and what was found by repetition. */
interface Condition {
  readonly order: Order;
  readonly beside: Beside;
  readonly mode: Mode;
  readonly waits: Summary[];
  readonly buckets: number[];
  readonly reported: number[];
  readonly rate: number[];
}

function conditions(plan: Plan): Condition[] {
  const list: Condition[] = [];
  const add = (order: Order, beside: Beside, mode: Mode) =>
    list.push({
      ...{ order, beside, mode, waits: [], reported: [], rate: [] },
      buckets: new Array(LATENCY_BUCKETS).fill(0),
    });
  for (const order of plan.orders) {
    for (const mode of plan.modes) add(order, "bulk", mode);
    if (plan.modes.includes("preempt-full")) add(order, "idle", "preempt-full");
  }
  return list;
}

async function measureCondition(
  condition: Condition,
  link: Link,
  placement: CpuPlacement,
  plan: Plan,
): Promise<void> {
  const { order, beside, mode } = condition;
  const size = wholePages(beside === "idle" ? plan.size / IDLE_SHARE : plan.size);
  const { source, destination } = await runMigration({
    link,
    placement,
    image: await plan.images.path(size),
    mode,
    maxBandwidth: beside === "idle" ? HELD_OFF : 0,
    workload: {
      threads: plan.threads,
      pattern: order === "random" ? "once" : "sequential",
      untilTouched: true,
    },
  });
  const waits = summarise(destination.waits);
  condition.waits.push(waits);
  condition.reported.push(destination.statistics["postcopy-latency"]);
  condition.rate.push(source.ram.mbps * 1e6 / 8);
  destination.buckets.forEach((count, bucket) => condition.buckets[bucket]! += count);
  const mean = (waits.mean / 1000).toFixed(0);
  progress(`  ${mode}, ${order}, ${beside}: ${waits.count} waits, mean ${mean} us`);
}

async function measureSection(
  link: Link,
  rate: number,
  placement: CpuPlacement,
  plan: Plan,
): Promise<LatencySection> {
  progress(`${link.name}, ${describePlacement(placement)}`);
  const rows = conditions(plan);
  const idle = { beside: "idle", request: [], fault: [], bulkRate: [] } as MutableFloors;
  const bulk = { beside: "bulk", request: [], fault: [], bulkRate: [] } as MutableFloors;
  for (let run = 0; run < plan.repeat; run++) {
    await addFloors(link, placement, idle, bulk);
    for (const row of rows) await measureCondition(row, link, placement, plan);
  }
  return { link: link.name, rate, placement, floors: [idle, bulk], rows: rows as LatencyRow[] };
}

type MutableFloors = {
  -readonly [K in keyof FloorsRow]: FloorsRow[K] extends readonly (infer T)[] ? T[] : FloorsRow[K];
};

async function addFloors(
  link: Link,
  placement: CpuPlacement,
  idle: MutableFloors,
  bulk: MutableFloors,
): Promise<void> {
  await using pair = await FloorPair.start(link, placement);
  for (
    const [row, floors] of [
      [idle, await pair.idle({ count: 2000, warmUp: 1000 })],
      [bulk, await pair.underBulk({ count: 1500, warmUp: 500 })],
    ] as const
  ) {
    row.request.push(summarise(floors.request));
    row.fault.push(summarise(floors.fault));
    row.bulkRate.push(floors.bulkRate);
  }
}

async function main(options: RawOptions): Promise<void> {
  const quick = options["quick"] === true;
  using images = new WorkloadImages();
  const plan: Plan = {
    size: sizeOption(options, "size", (quick ? 256 : 1024) * 2 ** 20),
    repeat: countOption(options, "repeat", quick ? 1 : 3),
    threads: countOption(options, "threads", 1),
    modes: listOption(options, "mode", MODES, MODES),
    orders: listOption<Order>(options, "order", ["random", "sequential"], ["random", "sequential"]),
    images,
  };
  const links = listOption(options, "link", LINK_NAMES, LINK_NAMES);
  const machine = await describeMachine();
  await images.path(plan.size);
  const warmth = warmMemory(plan.size * 2);
  const idleness = await waitForIdleMachine(10);
  progress(`${formatMachine(machine)}; ${(idleness.idle * 100).toFixed(0)} % idle`);
  const sections: LatencySection[] = [];
  const notes = await withLinks(links, async (link, name) => {
    // The two ends of a link are two hosts, each with CPUs of its own.
    const usual = name === "loopback" ? CPU_PLACEMENTS : ["two-cpus" as const];
    const size = name === "1g" ? plan.size / 4 : plan.size;
    for (const placement of placementOption(options, usual)) {
      sections.push(await measureSection(link, linkRate(name), placement, { ...plan, size }));
    }
  });
  const targets = sections.flatMap(latencyTargets);
  const path = await writeResults("latency", machine, {
    warmth,
    idleness,
    size: plan.size,
    threads: plan.threads,
    notes,
    targets,
    sections,
  });
  print(
    `${formatMachine(machine)}. ${plan.size / 2 ** 20} MiB, ${plan.threads} thread(s), ` +
      `median of ${plan.repeat} repetitions, latency of accesses that waited for their page.`,
  );
  for (const section of sections) {
    print(`\n### ${section.link}, ${describePlacement(section.placement)}\n`);
    print(latencyTable(section));
    print(`\n\`\`\`\n${latencyCharts(section)}\n\`\`\``);
  }
  print(`\n${[...targets.map(formatTarget), ...notes.map((line) => `- ${line}`)].join("\n")}`);
  progress(`Results in ${path.pathname}`);
}

const valued = ["link", "placement", "mode", "order", "size", "threads", "repeat"];
await runBenchmark({ usage: USAGE, valued, flags: ["quick"] }, main);
