/**
 * Multifd: throughput and CPU of 1, 2 and 4 channels, plain and by zstd, of a guest at rest and one that writes;
 * between two ends of ours, two QEMUs, and one of each.
 *
 * @module
 */

import { capture } from "../qemu/capture.ts";
import { type QemuBinary, qemuFromEnvironment } from "../qemu/qemu_binary.ts";
import { contentText, MemoryDigest, writeContent } from "./multifd/content.ts";
import { moveBy, type Peers } from "./multifd/move.ts";
import {
  type Compression,
  COMPRESSIONS,
  formatPoint,
  type Guest,
  GUESTS,
  measures,
  type Move,
  type MoveFigures,
  type Pair,
  PAIR_TITLES,
  PAIRS,
  type Point,
  points,
  type Row,
  type Section,
  WRITER_SHARE,
} from "./multifd/point.ts";
import { digestOf, startGuest } from "./multifd/qemu_ends.ts";
import { bytesTable, cpuTable, multifdTargets, rateTable, writtenTable } from "./multifd/report.ts";
import { type CpuPlacement, describePlacement } from "./support/cpu_placement.ts";
import { waitForIdleMachine } from "./support/cpu_time.ts";
import { type Link, LOOPBACK } from "./support/link.ts";
import { LINK_NAMES, type LinkName, linkRate, withLinks } from "./support/links.ts";
import { formatMachine, type Machine } from "./support/machine.ts";
import {
  countOption,
  countsOption,
  listOption,
  placementOption,
  type RawOptions,
  sizeOption,
  UsageError,
} from "./support/options.ts";
import { pairsThere } from "./support/pairs_there.ts";
import { print, progress } from "./support/progress.ts";
import { writeResults } from "./support/results.ts";
import { runBenchmark } from "./support/run.ts";
import { formatTarget } from "./support/target.ts";
import { TemporaryDirectory } from "./support/temporary_directory.ts";
import { withTries } from "./support/tries.ts";
import { inTurns } from "./support/turns.ts";
import { warmMemory } from "./support/warm_memory.ts";

const USAGE = `deno task bench:multifd [options]
  --link ${LINK_NAMES.join(",")}   default all; those with a rate need root and iproute2
  --pair ${PAIRS.join(",")}   who moves the memory; default all
  --channels 1,2,4
  --compression ${COMPRESSIONS.join(",")}
  --guest ${GUESTS.join(",")}   what it does meanwhile; default both
  --size 1G              memory of the guest; a quarter of it at 1 Gbit/s
  --runs N               of each, in turn; default 3
  --placement two-cpus   or one-cpu, scheduler: where the ends run
  --quick                one run of 256M, 1 and 2 channels
QEMU is /usr/bin/qemu-system-x86_64, or the command in QEMU_SYSTEM.`;

/** Memory of both ends and of what they are filled from, over the guest's. */
const MEMORY_OF_RUN = 5;
/** Tries that a move with a QEMU gets. */
const TRIES = 3;
const PAGE = 4096;
const MIB = 2 ** 20;

interface Plan {
  readonly size: number;
  readonly runs: number;
  readonly placement: CpuPlacement;
  readonly links: readonly LinkName[];
  readonly pairs: readonly Pair[];
  readonly points: readonly Point[];
}

/** Everything that a run needs while it measures. */
interface Bench {
  readonly plan: Plan;
  readonly binary: QemuBinary;
  /** Where files lie that a QEMU sees too. */
  readonly directory: string;
  /** Runs that were not counted, and why. */
  readonly notes: string[];
}

function planOf(options: RawOptions): Plan {
  const quick = options["quick"] === true;
  const size = sizeOption(options, "size", (quick ? 256 : 1024) * MIB);
  if (size % (4 * MIB) !== 0 || size > 2048 * MIB) {
    throw new UsageError(`--size takes a multiple of 4 MiB, at most 2G: ${options["size"]}`);
  }
  return {
    size,
    runs: countOption(options, "runs", quick ? 1 : 3),
    placement: placementOption(options, ["two-cpus"])[0]!,
    links: listOption<LinkName>(options, "link", LINK_NAMES, LINK_NAMES),
    pairs: listOption<Pair>(options, "pair", PAIRS, PAIRS),
    points: points(
      countsOption(options, "channels", quick ? [1, 2] : [1, 2, 4]),
      listOption<Compression>(options, "compression", COMPRESSIONS, COMPRESSIONS),
      listOption<Guest>(options, "guest", GUESTS, GUESTS),
    ),
  };
}

/** The memory that is moved, as it lies in files. */
interface Content extends Peers {
  /** Their directory. */
  readonly place: string;
  readonly content: string;
  readonly digest: string;
}

/** Makes the memory of a size, and the image of a QEMU's guest that rests on it. */
async function makeContent(bench: Bench, size: number): Promise<Content> {
  const { binary, directory, plan } = bench;
  const place = Deno.makeTempDirSync({ dir: directory });
  const [content, image] = [`${place}/content`, `${place}/image`];
  writeContent(content, size);
  const digest = new MemoryDigest();
  using file = Deno.openSync(content);
  const bytes = new Uint8Array(MIB);
  for (let count = file.readSync(bytes); count !== null; count = file.readSync(bytes)) {
    digest.add(bytes.subarray(0, count));
  }
  let imageDigest = "";
  if (plan.pairs.includes("serve-qemu")) {
    const move: Move = {
      ...{ channels: 1, compression: "none", guest: "rest", rate: 0, compares: false },
      ...{ link: LOOPBACK, placement: plan.placement, content, size },
    };
    await using qemu = await startGuest(move, binary);
    await capture(qemu, image);
    imageDigest = await digestOf(qemu, size);
  }
  return { place, content, image, imageDigest, binary, digest: digest.end() };
}

/** Measures everything over a link as often as asked for, the pairs in turn, every other time in reverse. */
async function measure(bench: Bench, link: Link, name: LinkName): Promise<Section> {
  const { plan } = bench;
  const size = name === "1g" ? plan.size / 4 : plan.size;
  const rate = Math.round(WRITER_SHARE * (linkRate(name) || linkRate("10g")) / 8 / PAGE);
  const content = await makeContent(bench, size);
  const rows = plan.points.flatMap((point) =>
    plan.pairs.filter((pair) => measures(pair, point))
      .map((pair) => ({ point, pair, runs: [] as MoveFigures[] }))
  );
  const title = (run: number) => `${link.name}, run ${run + 1}`;
  await inTurns({ each: rows, runs: plan.runs, idleWait: 3, title }, async (row, run) => {
    const { pair, point } = row;
    const move: Move = {
      ...point,
      ...{ link, size, placement: plan.placement, content: content.content },
      rate: point.guest === "rest" ? 0 : rate,
      compares: run === 0,
    };
    const tries = pair === "ours" ? 1 : TRIES;
    const what = `${PAIR_TITLES[pair]}, ${formatPoint(point)}`;
    const figures = await withTries(
      tries,
      what,
      bench.notes,
      () => moveBy(pair, move, content, content.digest),
    );
    row.runs.push(figures);
    show(row, figures);
  });
  Deno.removeSync(content.place, { recursive: true });
  return { link: link.name, size, rate, rows };
}

function show({ pair, point }: Row, { rate, sourceCpu, destinationCpu }: MoveFigures): void {
  progress(
    `  ${formatPoint(point)}, ${PAIR_TITLES[pair]}: ${(rate / 1e9).toFixed(2)} GB/s, CPU ` +
      `${sourceCpu.toFixed(2)} + ${destinationCpu.toFixed(2)} s a GB`,
  );
}

/** What holds for all tables. */
function caption(machine: Machine, { runs, placement }: Plan): string {
  return `${formatMachine(machine)}. Median of ${runs} run(s), the pairs in turn; ` +
    `${
      describePlacement(placement)
    }. Precopy to the end; zstd and level 1 at both; memory as a guest's ` +
    `without its zero pages: ${contentText()}. The writer writes a word of so many pages a second, chosen at ` +
    `random, ${
      WRITER_SHARE * 100
    } % of the link's rate (loopback: of 10 Gbit/s). QEMU's guests run under ` +
    "TCG, on the source's CPU. In brackets: over QEMU to QEMU, median of the pairs. Every byte was compared " +
    "in the first run, but for a writer in a QEMU source.";
}

async function main(options: RawOptions): Promise<void> {
  const notes: string[] = [];
  const binary = qemuFromEnvironment();
  const planned = planOf(options);
  const { pairs, machine } = await pairsThere(planned.pairs, binary, notes);
  const plan = { ...planned, pairs };
  const warmth = warmMemory(plan.size * MEMORY_OF_RUN);
  const idleness = await waitForIdleMachine(10);
  progress(`${formatMachine(machine)}; ${(idleness.idle * 100).toFixed(0)} % idle`);
  const root = binary.root.replace(/\/+$/, "");
  using directory = new TemporaryDirectory(root === "" ? undefined : `${root}/tmp`);
  const bench: Bench = { plan, binary, directory: directory.path, notes };
  const sections: Section[] = [];
  const linkNotes = await withLinks(plan.links, async (link, name) => {
    sections.push(await measure(bench, link, name));
  });
  const targets = sections.flatMap(multifdTargets);
  const path = await writeResults("multifd", machine, {
    ...{ size: plan.size, runs: plan.runs, placement: plan.placement, content: contentText() },
    ...{ warmth, idleness, notes: [...linkNotes, ...notes], targets, sections },
  });
  print(caption(machine, plan));
  for (const section of sections) {
    print(`\n### ${section.link}, ${section.size / MIB} MiB, writer ${section.rate} pages/s\n`);
    const tables = [rateTable, cpuTable, bytesTable, writtenTable].map((table) => table(section));
    print(tables.filter((text) => text !== "").join("\n\n"));
  }
  const lines = [...linkNotes, ...notes].map((line) => `- ${line}`);
  print(`\n${[...targets.map(formatTarget), ...lines].join("\n")}`);
  progress(`Results in ${path.pathname}`);
}

const valued = [
  ...["link", "pair", "channels", "compression", "guest"],
  ...["size", "runs", "placement"],
];
await runBenchmark({ usage: USAGE, valued, flags: ["quick"] }, main);
