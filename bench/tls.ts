/**
 * What TLS costs: background throughput, faults and CPU in clear, by certificates and by a pre-shared key;
 * between two ends of ours, two QEMUs, and `serve` and a QEMU, beside what the library reaches alone between
 * two plain processes.
 *
 * @module
 */

import { type QemuBinary, qemuFromEnvironment } from "../qemu/qemu_binary.ts";
import { type CpuPlacement, describePlacement } from "./support/cpu_placement.ts";
import { waitForIdleMachine } from "./support/cpu_time.ts";
import { formatMachine, type Machine } from "./support/machine.ts";
import {
  countOption,
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
import { WorkloadImages } from "./support/workload_images.ts";
import { RunCredentials } from "./tls/credentials.ts";
import type { LibraryFigures, Measured, MoveFigures } from "./tls/figures.ts";
import { type Kind, KINDS, type Pair, PAIR_TITLES, PAIRS } from "./tls/kind.ts";
import { measureLibrary } from "./tls/library_pair.ts";
import { measureOurs, ourStartCost, type StartCost } from "./tls/our_pair.ts";
import { measureQemu, measureServeToQemu, type SavedGuests, saveGuests } from "./tls/qemu_pair.ts";
import { faultTable, streamTable } from "./tls/report.ts";
import { tlsTargets } from "./tls/targets.ts";

const USAGE = `deno task bench:tls [options]
  --pair ${PAIRS.join(",")}   who moves the memory; default all
  --kind ${KINDS.join(",")}   default all
  --size 1G              memory of the guest; of one that waits for its pages less
  --runs N               of each, in turn; default 3
  --placement two-cpus   or one-cpu, scheduler: of the streams; faults are taken on one CPU
  --quick                one run of 256M
QEMU is /usr/bin/qemu-system-x86_64, or the command in QEMU_SYSTEM. Needs the openssl command.`;

/** Memory of both ends and of the images, over the guest's. */
const MEMORY_OF_RUN = 4;
/** Tries that a migration from QEMU gets. */
const QEMU_TRIES = 3;

interface Plan {
  readonly size: number;
  readonly runs: number;
  readonly placement: CpuPlacement;
  readonly pairs: readonly Pair[];
  readonly kinds: readonly Kind[];
}

/** Everything that a run needs while it measures. */
interface Bench {
  readonly plan: Plan;
  readonly binary: QemuBinary;
  readonly images: WorkloadImages;
  readonly credentials: RunCredentials;
  readonly startCosts: ReadonlyMap<Kind, StartCost>;
  readonly saved: SavedGuests | undefined;
  /** Runs that were not counted, and why. */
  readonly notes: string[];
}

function planOf(options: RawOptions): Plan {
  const quick = options["quick"] === true;
  const size = sizeOption(options, "size", (quick ? 256 : 1024) * 2 ** 20);
  if (size < 64 * 2 ** 20 || size % 2 ** 20 !== 0) {
    throw new UsageError(`--size takes whole MiB, 64 or more: ${options["size"]}`);
  }
  return {
    size,
    runs: countOption(options, "runs", quick ? 1 : 3),
    placement: placementOption(options, ["two-cpus"])[0]!,
    pairs: listOption<Pair>(options, "pair", PAIRS, PAIRS),
    kinds: listOption<Kind>(options, "kind", KINDS, KINDS),
  };
}

async function measurePair(bench: Bench, pair: Pair, kind: Kind): Promise<MoveFigures> {
  const { plan, credentials, images, startCosts, saved } = bench;
  switch (pair) {
    case "ours":
      return await measureOurs({ ...plan, images }, credentials.path(kind), startCosts.get(kind)!);
    case "qemu":
      return await withTries(
        QEMU_TRIES,
        `${PAIR_TITLES.qemu}, ${kind}`,
        bench.notes,
        () => measureQemu({ ...bench, ...plan }, kind),
      );
    case "serve-qemu":
      return await measureServeToQemu({ ...bench, ...plan }, saved!, kind, startCosts.get(kind)!);
  }
}

function show(title: string, kind: Kind, rate: number, waits: readonly (number | undefined)[]) {
  const means = waits.map((mean) => mean === undefined ? "-" : (mean / 1000).toFixed(0));
  progress(`  ${title}, ${kind}: ${(rate / 1e9).toFixed(2)} GB/s, mean ${means.join(" and ")} us`);
}

/** Measures everything as often as asked for, in turn, every other time in reverse. */
async function measure(bench: Bench): Promise<Measured> {
  const { plan, credentials } = bench;
  const library = plan.kinds.map((kind) => ({ kind, runs: [] as LibraryFigures[] }));
  const moves = plan.pairs.flatMap((pair) =>
    plan.kinds.map((kind) => ({ pair, kind, runs: [] as MoveFigures[] }))
  );
  const steps = plan.kinds.flatMap((kind) => [
    async () => {
      const figures = await measureLibrary(plan.placement, plan.size, credentials.path(kind));
      library.find((row) => row.kind === kind)!.runs.push(figures);
      show("two plain processes", kind, figures.rate, [figures.roundTrip.mean]);
    },
    ...moves.filter((row) => row.kind === kind).map(({ pair, runs }) => async () => {
      const figures = await measurePair(bench, pair, kind);
      runs.push(figures);
      const waits = [figures.alone?.mean, figures.beside?.mean];
      show(PAIR_TITLES[pair], kind, figures.stream.rate, waits);
    }),
  ]);
  const title = (run: number) => `Run ${run + 1}`;
  await inTurns({ each: steps, runs: plan.runs, idleWait: 2, title }, (step) => step());
  return { library, moves };
}

/** What holds for all tables. */
function caption(machine: Machine, { size, runs, placement }: Plan): string {
  return `${formatMachine(machine)}. ${size / 2 ** 20} MiB, median of ${runs} run(s) (least to ` +
    `most), all in turn. Streams: ${
      describePlacement(placement)
    }, a guest at rest without a zero ` +
    "page; faults: both ends on CPU 0. x509: TLS 1.3 with AES-256-GCM; psk: with AES-128-GCM, which " +
    "QEMU takes only when it is told by its priority= (else CHACHA20-POLY1305). QEMU's guests run " +
    "under TCG and time their writes themselves; their p99 is the upper edge of a power of two.";
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
  using directory = new TemporaryDirectory();
  // Certificates and what QEMU is given lie there too, and are removed with it, also on Ctrl-C.
  Deno.env.set("TMPDIR", directory.path);
  using images = new WorkloadImages();
  await using credentials = await RunCredentials.make(directory.path);
  const startCosts = new Map<Kind, StartCost>();
  const saved = plan.pairs.includes("serve-qemu")
    ? await saveGuests({ ...plan, binary, credentials }, directory.path)
    : undefined;
  for (const kind of plan.kinds) {
    if (!plan.pairs.some((pair) => pair !== "qemu")) break;
    startCosts.set(kind, await ourStartCost({ ...plan, images }, credentials.path(kind)));
  }
  const bench: Bench = { plan, binary, images, credentials, startCosts, saved, notes };
  const measured = await measure(bench);
  const targets = tlsTargets(measured);
  const path = await writeResults("tls", machine, {
    ...plan,
    warmth,
    idleness,
    startCosts: Object.fromEntries(startCosts),
    notes,
    targets,
    ...measured,
  });
  print(`${caption(machine, plan)}\n\n${streamTable(measured)}\n\n${faultTable(measured)}\n`);
  print([...targets.map(formatTarget), ...notes.map((line) => `- ${line}`)].join("\n"));
  progress(`Results in ${path.pathname}`);
}

const valued = ["pair", "kind", "size", "runs", "placement"];
await runBenchmark({ usage: USAGE, valued, flags: ["quick"] }, main);
