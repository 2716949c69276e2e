/**
 * A guest's memory over a slow link, compressed with zlib and with zstd by us and with zlib by QEMU,
 * and as it is: total time, downtime, bytes, and how much of the link is used.
 *
 * @module
 */

import { compressionLibrary } from "../ffi/compression/codec.ts";
import { COMPRESSION_METHODS } from "../migration/compression.ts";
import { type QemuBinary, qemuFromEnvironment } from "../qemu/qemu_binary.ts";
import { whyNoCompressingQemu } from "./methods/compressing_qemu.ts";
import { CONTENT_NAMES, type ContentName, makeContent } from "./methods/contents.ts";
import { findKernel } from "./methods/linux_guest.ts";
import { moveByUs } from "./methods/our_move.ts";
import { moveByQemu } from "./methods/qemu_move.ts";
import { compressionTable, methodsTable, publishedTable, type Section } from "./methods/report.ts";
import { methodsTargets } from "./methods/targets.ts";
import {
  type Move,
  type MoveFigures,
  SETTINGS,
  WAY_NAMES,
  type WayName,
  WAYS,
} from "./methods/way.ts";
import { type CpuPlacement, describePlacement } from "./support/cpu_placement.ts";
import { waitForIdleMachine } from "./support/cpu_time.ts";
import type { Link } from "./support/link.ts";
import { linkRate, withLinks } from "./support/links.ts";
import { describeMachine, formatMachine, type Machine, qemuVersion } from "./support/machine.ts";
import {
  countOption,
  listOption,
  placementOption,
  type RawOptions,
  sizeOption,
  UsageError,
} from "./support/options.ts";
import { print, progress } from "./support/progress.ts";
import { writeResults } from "./support/results.ts";
import { runBenchmark } from "./support/run.ts";
import { TemporaryDirectory } from "./support/temporary_directory.ts";
import { warmMemory } from "./support/warm_memory.ts";
import { formatTarget } from "./support/target.ts";

const USAGE = `deno task bench:methods [options]
  --link 100m,1g       default both; they need root and iproute2
  --content mix,guest  made up, and captured from a Linux guest; default both
  --way ${WAY_NAMES.join(",")}
                       default all
  --kernel FILE        a Linux kernel for the guest that is captured; default the last in /boot
  --size 256M          memory of the guest
  --runs N             of each way that compresses, in turn; default 3
  --placement two-cpus   or one-cpu, scheduler: where the ends run
  --quick              one run of 128M
QEMU is /usr/bin/qemu-system-x86_64, or the command in QEMU_SYSTEM; it must be older than 9.1.`;

const LINKS = ["100m", "1g"] as const;
/** Memory of both ends, of the content, and of what was booted for it, over the guest's. */
const MEMORY_OF_RUN = 4;
/** Runs of a way that does not compress: nothing but the link decides. */
const RUNS_UNCOMPRESSED = 1;
/** Where files lie in memory. */
const MEMORY_DIRECTORY = "/dev/shm";

interface Plan {
  readonly size: number;
  readonly runs: number;
  readonly placement: CpuPlacement;
  readonly ways: readonly WayName[];
}

interface Content {
  readonly name: ContentName;
  readonly path: string;
  readonly description: string;
}

function show(way: WayName, { total, downtime, transferred, linkUse }: MoveFigures): void {
  progress(
    `  ${WAYS[way].title}: ${(total / 1000).toFixed(2)} s, downtime ${downtime.toFixed(0)} ms, ` +
      `${(transferred / 1e6).toFixed(1)} MB, link used ${(linkUse * 100).toFixed(1)} %`,
  );
}

/** Runs every way as often as asked for, the ways in turn, every other time in reverse. */
async function measure(move: Move, plan: Plan, binary: QemuBinary): Promise<Section["rows"]> {
  const figures = new Map<WayName, MoveFigures[]>(plan.ways.map((way) => [way, []]));
  for (let run = 0; run < plan.runs; run++) {
    for (const name of run % 2 === 0 ? plan.ways : plan.ways.toReversed()) {
      const way = WAYS[name];
      if (way.method === undefined && run >= RUNS_UNCOMPRESSED) continue;
      const { idle } = await waitForIdleMachine(5);
      if (idle < 0.8) progress(`  the machine is ${(idle * 100).toFixed(0)} % idle`);
      const result = way.side === "qemu"
        ? await moveByQemu(move, way, binary)
        : await moveByUs(move, way);
      show(name, result);
      figures.get(name)!.push(result);
    }
  }
  return [...figures].map(([way, runs]) => ({ way, runs }));
}

async function measureLink(
  link: Link,
  rate: number,
  contents: readonly Content[],
  directory: string,
  plan: Plan,
  binary: QemuBinary,
): Promise<Section[]> {
  const { size, placement } = plan;
  const sections: Section[] = [];
  for (const { name, path, description } of contents) {
    progress(`${link.name}, ${name}`);
    const move = { link, rate, placement, content: path, size, directory };
    const rows = await measure(move, plan, binary);
    sections.push({ link: link.name, content: name, description, size, rows });
  }
  return sections;
}

/** CPUs that an end has for itself. */
function cpusOfEnd(placement: CpuPlacement): number {
  return placement === "scheduler" ? navigator.hardwareConcurrency : 1;
}

function report(sections: readonly Section[], plan: Plan): string[] {
  return sections.flatMap((section) => [
    `\n### ${section.link}, ${section.size / 2 ** 20} MiB, ${section.description}\n`,
    `${methodsTable(section)}\n`,
    `${compressionTable(section)}\n`,
    `${publishedTable(section)}\n`,
    ...methodsTargets(section, cpusOfEnd(plan.placement)).map(formatTarget),
  ]);
}

function planOf(options: RawOptions): Plan {
  const quick = options["quick"] === true;
  const size = sizeOption(options, "size", (quick ? 128 : 256) * 2 ** 20);
  if (size % 2 ** 20 !== 0) {
    throw new UsageError(`--size takes whole MiB, as QEMU does: ${options["size"]}`);
  }
  return {
    size,
    runs: countOption(options, "runs", quick ? 1 : 3),
    placement: placementOption(options, ["two-cpus"])[0]!,
    ways: listOption<WayName>(options, "way", WAY_NAMES, WAY_NAMES),
  };
}

/** With which libraries our side compresses. */
function libraryNotes(): string[] {
  return COMPRESSION_METHODS.map((method) => {
    const { library, instead } = compressionLibrary(method);
    return `our ${method}: ${library}${instead === undefined ? "" : ` (${instead})`}`;
  });
}

/** What holds for all tables. */
function caption(machine: Machine, { runs, placement }: Plan): string {
  const { level, compressThreads, decompressThreads, wait } = SETTINGS;
  return `${formatMachine(machine)}. Median of ${runs} run(s), of ${RUNS_UNCOMPRESSED} where ` +
    `nothing is compressed, the ways in turn; ${describePlacement(placement)}. Level ${level}, ` +
    `${compressThreads} compression threads (the sender ` +
    `${wait ? "waits for one" : "sends a page as it is when none is free"}), ` +
    `${decompressThreads} decompression threads. Both guests rest: ours is memory that nobody ` +
    "writes, QEMU's processor (TCG) is halted from its first instruction on. Total: until the " +
    "destination has everything; QEMU's own count ends when its last byte is in the socket. Every " +
    "byte was compared at the destination.";
}

async function main(options: RawOptions): Promise<void> {
  const plan = planOf(options);
  const links = listOption(options, "link", LINKS, LINKS);
  const names = listOption<ContentName>(options, "content", CONTENT_NAMES, CONTENT_NAMES);
  const kernel = options["kernel"] === undefined ? findKernel() : String(options["kernel"]);
  const binary = qemuFromEnvironment();
  const boots = names.includes("guest") && kernel !== undefined;
  const needed = boots || plan.ways.some((way) => WAYS[way].side === "qemu");
  const reason = needed ? await whyNoCompressingQemu(binary) : undefined;
  if (reason !== undefined) throw new Error(reason);
  const version = await qemuVersion(binary.command).catch(() => undefined);
  const machine = await describeMachine(version);
  const warmth = warmMemory(plan.size * MEMORY_OF_RUN);
  const idleness = await waitForIdleMachine(10);
  progress(`${formatMachine(machine)}; ${(idleness.idle * 100).toFixed(0)} % idle`);

  using directory = new TemporaryDirectory(MEMORY_DIRECTORY);
  // What QEMU is given lies there too, and is removed with it, also on Ctrl-C.
  Deno.env.set("TMPDIR", directory.path);
  const contents: Content[] = [];
  for (const name of names) {
    const path = `${directory.path}/${name}`;
    const description = await makeContent(name, path, plan.size, { kernel, binary });
    progress(`${name}: ${description}`);
    contents.push({ name, path, description });
  }
  const sections: Section[] = [];
  const linkNotes = await withLinks(links, async (link, name) => {
    const rate = linkRate(name);
    sections.push(...await measureLink(link, rate, contents, directory.path, plan, binary));
  });
  const notes = [...linkNotes, ...libraryNotes()];
  const targets = sections.map((section) => ({
    link: section.link,
    content: section.content,
    targets: methodsTargets(section, cpusOfEnd(plan.placement)),
  }));
  const results = { ...plan, settings: SETTINGS, warmth, idleness, notes, targets, sections };
  const path = await writeResults("methods", machine, results);
  print(caption(machine, plan));
  for (const line of report(sections, plan)) print(line);
  print(`\n${notes.map((line) => `- ${line}`).join("\n")}`);
  progress(`Results in ${path.pathname}`);
}

const valued = ["link", "content", "way", "kernel", "size", "runs", "placement"];
await runBenchmark({ usage: USAGE, valued, flags: ["quick"] }, main);
