/**
 * The headline: a QEMU guest restored in a QEMU destination, in turn by QEMU as the source (live
 * postcopy with preempt, no bandwidth limit) and by `serve` from a captured image.
 *
 * @module
 */

import { formatLatencyChart } from "../migration/report/latency_chart.ts";
import type { GuestMachine } from "../qemu/guest.ts";
import { qemuFromEnvironment, whyNoQemu } from "../qemu/qemu_binary.ts";
import {
  captureForRestore,
  restoreByQemu,
  restoreByServe,
  type RestoreFigures,
  WrongMemoryError,
} from "./restore/restore_run.ts";
import { waitForIdleMachine } from "./support/cpu_time.ts";
import { describeMachine, formatMachine, qemuVersion } from "./support/machine.ts";
import { markdownTable, significant } from "./support/markdown.ts";
import { countOption, type RawOptions, wordOption } from "./support/options.ts";
import { print, progress } from "./support/progress.ts";
import { writeResults } from "./support/results.ts";
import { runBenchmark } from "./support/run.ts";
import { ratioOfPairs, type Spread, spread } from "./support/statistics.ts";
import { TemporaryDirectory } from "./support/temporary_directory.ts";
import { warmMemory } from "./support/warm_memory.ts";

const USAGE = `deno task bench:restore [options]
  --memory MiB       memory of the guest, default 512
  --working-set MiB  what the guest reads and writes all the time, a power of two; default 256
  --order random     or sequential: the guest's walk through it
  --mode preempt-full  or preempt: how serve answers
  --pairs N          default 3
  --quick            one pair, 128 MiB and 64
QEMU is /usr/bin/qemu-system-x86_64, or the command in QEMU_SYSTEM. From 10.1 on it reports fault
latency itself; with an older one the guest's own timing of its touches counts.`;

/** Targets: serve's figure over QEMU's, and milliseconds from the connection to a running guest. */
const LATENCY_RATIO = 1 / 5;
const TOTAL_RATIO = 1 / 2;
const RUNNING_MS = 50;

interface Pair {
  readonly qemu: RestoreFigures;
  readonly serve: RestoreFigures;
}

function show(name: string, figures: RestoreFigures): void {
  const { running, total } = figures;
  const mean = `${(figures.latency ?? figures.guestLatency ?? NaN) / 1000 | 0} us`;
  progress(
    `  by ${name}: fault ${mean}, running ${running.toFixed(0)} ms, all ${total.toFixed(0)} ms`,
  );
}

function row(name: string, pairs: readonly Pair[], pick: (each: RestoreFigures) => number) {
  const qemu = pairs.map((pair) => pick(pair.qemu));
  const serve = pairs.map((pair) => pick(pair.serve));
  const cell = ({ median, least, most }: Spread): string =>
    `${significant(median)} (${significant(least)} to ${significant(most)})`;
  return [name, cell(spread(qemu)), cell(spread(serve)), cell(ratioOfPairs(serve, qemu))];
}

function bucketSum(pairs: readonly Pair[], who: keyof Pair): number[] {
  const sum: number[] = [];
  for (const pair of pairs) {
    pair[who].buckets?.forEach((count, bucket) => sum[bucket] = (sum[bucket] ?? 0) + count);
  }
  return sum;
}

const faults = ({ buckets }: RestoreFigures): number =>
  buckets?.reduce((sum, count) => sum + count, 0) ?? NaN;
const latency = ({ latency }: RestoreFigures): number => (latency ?? NaN) / 1000;
const guestLatency = ({ guestLatency }: RestoreFigures): number => (guestLatency ?? NaN) / 1000;
const guestWaits = ({ guestWaits }: RestoreFigures): number => guestWaits ?? NaN;
const total = ({ total }: RestoreFigures): number => total;
const running = ({ running }: RestoreFigures): number => running;
const firstOutput = ({ firstOutput }: RestoreFigures): number => firstOutput;
const resident = ({ resident }: RestoreFigures): number => resident / 2 ** 20;

function report(pairs: readonly Pair[], withLatency: boolean): void {
  const rows = [
    row("mean wait the guest saw, us", pairs, guestLatency),
    row("touches that waited", pairs, guestWaits),
    row("total time, ms", pairs, total),
    row("connection to guest running, ms", pairs, running),
    row("connection to guest's first output, ms", pairs, firstOutput),
    row("memory of the destination's process, MiB", pairs, resident),
  ];
  if (withLatency) {
    rows.unshift(
      row("mean fault latency, us", pairs, latency),
      row("faults that asked the source", pairs, faults),
    );
  }
  print(markdownTable(["", "QEMU as source", "serve", "serve / QEMU"], rows));
  if (withLatency) {
    for (const who of ["qemu", "serve"] as const) {
      const chart = formatLatencyChart(bucketSum(pairs, who)).join("\n");
      print(`\n\`\`\`\nfaults by latency, ${who}\n${chart}\n\`\`\``);
    }
  }
}

function targets(pairs: readonly Pair[], withLatency: boolean): string[] {
  const ratio = (pick: (each: RestoreFigures) => number): number =>
    ratioOfPairs(pairs.map(({ serve }) => pick(serve)), pairs.map(({ qemu }) => pick(qemu))).median;
  const verdict = (met: boolean, text: string): string => `- ${met ? "met" : "MISSED"}: ${text}`;
  const lines: string[] = [];
  // An older QEMU does not report it: then what the guest itself saw.
  const value = ratio(withLatency ? latency : guestLatency);
  const whose = withLatency ? "mean fault latency" : "mean wait the guest saw";
  const text = `${whose} at most 0.2 of that with QEMU as source: ${significant(value)}`;
  lines.push(verdict(value <= LATENCY_RATIO, text));
  const time = ratio(total);
  lines.push(
    verdict(time <= TOTAL_RATIO, `total time at most half of QEMU's: ${significant(time)}`),
  );
  const { median } = spread(pairs.map(({ serve }) => running(serve)));
  lines.push(
    verdict(median <= RUNNING_MS, `guest running within 50 ms: ${significant(median)} ms`),
  );
  return lines;
}

/** Takes turns in who begins, so that neither always runs on the warmer machine. */
async function measurePair(
  index: number,
  byQemu: () => Promise<RestoreFigures>,
  byServe: () => Promise<RestoreFigures>,
): Promise<Pair> {
  progress(`Pair ${index + 1}`);
  const first = index % 2 === 0 ? await byQemu() : undefined;
  if (first !== undefined) show("QEMU", first);
  const serve = await byServe();
  show("serve", serve);
  const qemu = first ?? await byQemu();
  if (first === undefined) show("QEMU", qemu);
  return { qemu, serve };
}

/** Tries that QEMU's own migration gets before the benchmark gives up. */
const QEMU_TRIES = 4;

/**
 * Runs QEMU's own migration again when its guest finds wrong memory: under TCG a QEMU source now and
 * then loses what the guest wrote while it was being stopped. With `serve` as the source that ends
 * the benchmark.
 */
async function untilRight(run: () => Promise<RestoreFigures>): Promise<RestoreFigures> {
  for (let left = QEMU_TRIES;; left--) {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof WrongMemoryError) || left === 1) throw error;
      progress(`  by QEMU, not counted: ${error.message}`);
    }
  }
}

async function main(options: RawOptions): Promise<void> {
  const quick = options["quick"] === true;
  const memoryMiB = countOption(options, "memory", quick ? 128 : 512);
  const workingSetMiB = countOption(options, "working-set", quick ? 64 : 256);
  const count = countOption(options, "pairs", quick ? 1 : 3);
  const order = wordOption(options, "order", ["random", "sequential"]);
  const mode = wordOption(options, "mode", ["preempt-full", "preempt"]);
  const binary = qemuFromEnvironment();
  const reason = await whyNoQemu(binary);
  if (reason !== undefined) throw new Error(reason);
  const machine: GuestMachine = {
    binary,
    memoryMiB,
    workingSetMiB,
    order,
    tick: 16,
    latency: true,
  };
  const version = await qemuVersion(binary.command);
  const host = await describeMachine(version);
  const warmth = warmMemory(memoryMiB * 2 ** 20 * 3);
  const idleness = await waitForIdleMachine(10);
  progress(`${formatMachine(host)}; ${(idleness.idle * 100).toFixed(0)} % idle`);
  using directory = new TemporaryDirectory();
  const captured = await captureForRestore(`${directory.path}/guest`, machine);
  const byServe = () => restoreByServe(captured, mode);
  await byServe(); // indexes the image
  const pairs: Pair[] = [];
  for (let index = 0; index < count; index++) {
    pairs.push(await measurePair(index, () => untilRight(() => restoreByQemu(machine)), byServe));
  }
  const withLatency = pairs.every(({ qemu, serve }) =>
    qemu.latency !== undefined && serve.latency !== undefined
  );
  const verdicts = targets(pairs, withLatency);
  const guest = { memoryMiB, workingSetMiB, order, accelerator: "tcg" };
  const path = await writeResults("restore", host, {
    warmth,
    idleness,
    guest,
    mode,
    targets: verdicts,
    pairs,
  });
  print(
    `${formatMachine(host)}. Guest of ${memoryMiB} MiB (TCG) that writes ${workingSetMiB} MiB in ` +
      `${order} order; ${count} pairs: median (least to most).\n`,
  );
  report(pairs, withLatency);
  print(`\n${verdicts.join("\n")}`);
  progress(`Results in ${path.pathname}`);
}

const valued = ["memory", "working-set", "order", "mode", "pairs"];
await runBenchmark({ usage: USAGE, valued, flags: ["quick"] }, main);
