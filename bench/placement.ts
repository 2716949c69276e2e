/**
 * How pages get from a received piece of a stream into a guest's memory: every way the kernel has, in
 * private and in shared memory, and the whole destination with both.
 *
 * @module
 */

import { monotonicNanoseconds, threadCpuNanoseconds } from "../ffi/clock.ts";
import { Discards } from "../ffi/discards.ts";
import { type Backing, discardMemory } from "../ffi/memory.ts";
import { Arena, MOST_PAGES, PAGE } from "./placement/arena.ts";
import { ARRIVALS, withStream } from "./placement/arrivals.ts";
import { type Way, WAYS, ZERO_WAYS } from "./placement/ways.ts";
import { waitForIdleMachine } from "./support/cpu_time.ts";
import { LOOPBACK } from "./support/link.ts";
import { describeMachine, formatMachine } from "./support/machine.ts";
import { markdownTable, significant } from "./support/markdown.ts";
import { runMigration } from "./support/migration_run.ts";
import { countOption, type RawOptions, sizeOption } from "./support/options.ts";
import { print, progress } from "./support/progress.ts";
import { writeResults } from "./support/results.ts";
import { runBenchmark } from "./support/run.ts";
import { median } from "./support/statistics.ts";
import { warmMemory } from "./support/warm_memory.ts";
import { WorkloadImages } from "./support/workload_images.ts";

const USAGE = `deno task bench:placement [options]
  --size 512M   memory filled by each way, and of the guest
  --repeat N    repetitions, default 5
  --quick       two repetitions of 128M`;

const BACKINGS: readonly Backing[] = ["anonymous", "memfd"];
/** Pages dropped one by one, every other one of twice as many. */
const DISCARDS = 100_000;

/** How long something took in each repetition. */
interface Row {
  readonly name: string;
  readonly backing: Backing;
  /** Nanoseconds a page. */
  readonly time: number[];
  /** CPU nanoseconds a page: of the placing thread, or of the destination. */
  readonly cpu: number[];
}

interface Timed {
  readonly time: number;
  readonly cpu: number;
}

function timed(pages: number, act: () => void): Timed {
  const cpu = threadCpuNanoseconds();
  const start = monotonicNanoseconds();
  act();
  const time = monotonicNanoseconds() - start;
  return { time: time / pages, cpu: (threadCpuNanoseconds() - cpu) / pages };
}

function fill(way: Way, pages: number): Timed {
  using arena = new Arena(way.backing, pages, way.registered);
  return timed(pages, () => way.fill(arena));
}

/** A way of dropping pages. */
interface Dropping {
  readonly name: string;
  readonly backing: Backing;
  /** Ranges in a call. */
  readonly together: boolean;
  /** Whether the page cache of a memfd is to forget them too. */
  readonly remove: boolean;
}

const DROPPING: readonly Dropping[] = [
  { name: "MADV_DONTNEED by page", backing: "anonymous", together: false, remove: false },
  { name: "MADV_DONTNEED by 1024", backing: "anonymous", together: true, remove: false },
  { name: "MADV_REMOVE by page", backing: "memfd", together: false, remove: true },
  { name: "MADV_DONTNEED by page", backing: "memfd", together: false, remove: false },
  { name: "MADV_DONTNEED by 1024", backing: "memfd", together: true, remove: false },
];

/** Drops every other page of full memory. */
function drop({ backing, together, remove }: Dropping): Timed {
  const pages = DISCARDS * 2;
  using arena = new Arena(backing, Math.ceil(pages / MOST_PAGES) * MOST_PAGES, true);
  const { memory, batch, placer } = arena;
  for (let first = 0; first < arena.pages; first += MOST_PAGES) {
    placer.copy(memory.address + first * PAGE, batch.address, MOST_PAGES * PAGE);
  }
  const discards = new Discards();
  return timed(DISCARDS, () => {
    for (let page = 0; page < pages; page += 2) {
      const address = memory.address + page * PAGE;
      if (together) discards.add(address, PAGE);
      else discardMemory(address, PAGE, remove);
    }
    discards.apply();
  });
}

/** Takes every measurement of a group once a repetition, so that a disturbance meets them all. */
async function repeated<T extends { readonly name: string; readonly backing: Backing }>(
  of: readonly T[],
  repeat: number,
  measure: (each: T) => Timed | Promise<Timed>,
): Promise<Row[]> {
  const rows = of.map(({ name, backing }): Row => ({ name, backing, time: [], cpu: [] }));
  for (let run = 0; run < repeat; run++) {
    for (const [index, each] of of.entries()) {
      const { time, cpu } = await measure(each);
      rows[index]!.time.push(time);
      rows[index]!.cpu.push(cpu);
    }
  }
  return rows;
}

/** A table whose ratios are to the first row of the same kind of memory. */
function table(title: string, rows: readonly Row[]): string {
  const body = rows.map(({ name, backing, time, cpu }) => {
    const reference = median(rows.find((row) => row.backing === backing)!.time);
    const page = median(time);
    return [
      `${backing}: ${name}`,
      significant(page / 1000),
      (1e6 / page).toFixed(0),
      significant(median(cpu) / PAGE),
      significant(reference / page),
    ];
  });
  return markdownTable([title, "us a page", "pages/ms", "CPU s a GB", "ratio"], body);
}

async function main(options: RawOptions): Promise<void> {
  const quick = options["quick"] === true;
  const size = sizeOption(options, "size", (quick ? 128 : 512) * 2 ** 20);
  const repeat = countOption(options, "repeat", quick ? 2 : 5);
  const pages = Math.floor(size / PAGE / MOST_PAGES) * MOST_PAGES;
  using images = new WorkloadImages();
  const machine = await describeMachine();
  const image = await images.path(size);
  const warmth = warmMemory(Math.max(size * 2.5, DISCARDS * 2 * PAGE));
  const idleness = await waitForIdleMachine(10);
  progress(`${formatMachine(machine)}; ${(idleness.idle * 100).toFixed(0)} % idle`);
  const data = await repeated(WAYS, repeat, (way) => fill(way, pages));
  progress("  data pages done");
  const zeros = await repeated(ZERO_WAYS, repeat, (way) => fill(way, pages));
  progress("  zero pages done");
  const discards = await repeated(DROPPING, repeat, drop);
  progress("  discards done");
  const arrivals = await repeated(ARRIVALS, repeat, async (arrival) => {
    let result: Timed | undefined;
    using arena = new Arena(arrival.backing, pages, true);
    await withStream((fd) => result = timed(pages, () => arrival.fill(arena, fd)));
    return result!;
  });
  progress("  arrivals done");
  const kinds = BACKINGS.map((backing) => ({ name: "serve to Destination", backing }));
  const whole = await repeated(kinds, repeat, async ({ backing }) => {
    const { source, destination } = await runMigration({
      link: LOOPBACK,
      placement: "scheduler",
      image,
      mode: "preempt-full",
      maxBandwidth: 0,
      backing,
    });
    const milliseconds = source["total-time"] - source["setup-time"];
    return { time: milliseconds * 1e6 / pages, cpu: destination.cpu * 1e9 / pages };
  });
  const content = { warmth, idleness, size, data, zeros, discards, arrivals, whole };
  const path = await writeResults("placement", machine, content);
  print(`${formatMachine(machine)}. ${size / 2 ** 20} MiB, ${repeat} repetitions, warm memory.`);
  print(`\n${table("data pages", data)}`);
  print(`\n${table("zero pages", zeros)}`);
  print(`\n${table("discards of single pages", discards)}`);
  print(`\n${table("from the socket, placing thread", arrivals)}`);
  print(`\n${table("whole destination, with its start", whole)}`);
  progress(`Results in ${path.pathname}`);
}

await runBenchmark({ usage: USAGE, valued: ["size", "repeat"], flags: ["quick"] }, main);
