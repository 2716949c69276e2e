/**
 * The floors alone: what a remote page fault cannot be faster than on this machine.
 *
 * @module
 */

import { type FloorCounts, FloorPair, type Floors } from "./floors/floor_pair.ts";
import { type CpuPlacement, describePlacement } from "./support/cpu_placement.ts";
import { waitForIdleMachine } from "./support/cpu_time.ts";
import { LINK_NAMES, withLinks } from "./support/links.ts";
import { describeMachine, formatMachine } from "./support/machine.ts";
import { markdownTable, microseconds } from "./support/markdown.ts";
import { countOption, listOption, placementOption, type RawOptions } from "./support/options.ts";
import { print, progress } from "./support/progress.ts";
import { writeResults } from "./support/results.ts";
import { runBenchmark } from "./support/run.ts";
import { median, overRepetitions, summarise, type Summary } from "./support/statistics.ts";
import { warmMemory } from "./support/warm_memory.ts";

const USAGE = `deno run -A tools/run.ts script bench/floors.ts [options]
  --link loopback,10g,1g                  default all; the last two need root and iproute2
  --placement scheduler,one-cpu,two-cpus  default all
  --count N    requests, and faults, in a repetition; default 3000
  --repeat N   repetitions, default 3
  --quick      one repetition of 500`;

/** Memory that both processes use. */
const MEMORY_BYTES = 512 * 1024 * 1024;

interface FloorRow {
  readonly link: string;
  readonly placement: CpuPlacement;
  readonly beside: "nothing" | "bulk stream";
  /** By repetition, nanoseconds. */
  readonly request: readonly Summary[];
  /** By repetition, nanoseconds. */
  readonly fault: readonly Summary[];
  /** By repetition, bytes a second. */
  readonly bulkRate: readonly number[];
}

async function repeated(
  take: (counts: FloorCounts) => Promise<Floors>,
  counts: FloorCounts,
  repeat: number,
): Promise<Pick<FloorRow, "request" | "fault" | "bulkRate">> {
  const runs: Floors[] = [];
  for (let run = 0; run < repeat; run++) runs.push(await take(counts));
  return {
    request: runs.map((floors) => summarise(floors.request)),
    fault: runs.map((floors) => summarise(floors.fault)),
    bulkRate: runs.map((floors) => floors.bulkRate),
  };
}

function figures({ mean, p50, p99, max }: Summary): string[] {
  return [mean, p50, p99, max].map(microseconds);
}

function tableRow(row: FloorRow): string[] {
  const request = overRepetitions(row.request);
  const fault = overRepetitions(row.fault);
  const rate = median(row.bulkRate);
  return [
    `${row.link}, ${describePlacement(row.placement)}`,
    row.beside === "nothing" ? "-" : `${(rate / 1e6).toFixed(0)} MB/s`,
    ...figures(request),
    ...figures(fault),
    microseconds(request.mean + fault.mean),
    microseconds(request.p50 + fault.p50),
  ];
}

const HEADER = [
  "CPU placement",
  "bulk beside",
  ...["mean", "p50", "p99", "max"].map((name) => `TCP ${name}`),
  ...["mean", "p50", "p99", "max"].map((name) => `fault ${name}`),
  "sum mean",
  "sum p50",
];

async function main(options: RawOptions): Promise<void> {
  const quick = options["quick"] === true;
  const counts = { count: countOption(options, "count", quick ? 500 : 3000), warmUp: 1000 };
  const repeat = countOption(options, "repeat", quick ? 1 : 3);
  const links = listOption(options, "link", LINK_NAMES, LINK_NAMES);
  const placements = placementOption(options, ["scheduler", "one-cpu", "two-cpus"]);
  const machine = await describeMachine();
  const warmth = warmMemory(MEMORY_BYTES);
  const idleness = await waitForIdleMachine(10);
  progress(`${formatMachine(machine)}; ${(idleness.idle * 100).toFixed(0)} % idle`);
  const rows: FloorRow[] = [];
  const notes = await withLinks(links, async (link) => {
    for (const placement of placements) {
      await using pair = await FloorPair.start(link, placement);
      const common = { link: link.name, placement };
      progress(`${link.name}, ${describePlacement(placement)}`);
      const idle = await repeated((each) => pair.idle(each), counts, repeat);
      rows.push({ ...common, beside: "nothing", ...idle });
      const busy = await repeated((each) => pair.underBulk(each), counts, repeat);
      rows.push({ ...common, beside: "bulk stream", ...busy });
    }
  });
  const path = await writeResults("floors", machine, { warmth, idleness, notes, rows });
  print(`All in us, median of ${repeat} repetitions. ${formatMachine(machine)}\n`);
  print(markdownTable(HEADER, rows.map(tableRow)));
  for (const note of notes) print(`- ${note}`);
  progress(`Results in ${path.pathname}`);
}

const valued = ["link", "placement", "count", "repeat"];
await runBenchmark({ usage: USAGE, valued, flags: ["quick"] }, main);
