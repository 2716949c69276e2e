/**
 * A running guest moved by us and, in turn, by QEMU 7.2: total time, downtime, bytes and rounds for
 * precopy, postcopy at once, and precopy rounds followed by postcopy.
 *
 * @module
 */

import { qemuFromEnvironment, whyNoQemu } from "../qemu/qemu_binary.ts";
import type { Move, MoveFigures } from "./migrate/move.ts";
import { moveByUs } from "./migrate/our_move.ts";
import { moveByQemu } from "./migrate/qemu_move.ts";
import {
  guestTable,
  migrationTable,
  migrationTargets,
  type Section,
  type ThroughputRow,
  throughputTable,
  throughputTargets,
} from "./migrate/report.ts";
import {
  converges,
  formatScenario,
  postcopyOf,
  type Scenario,
  scenarios,
  sharesOption,
  type Way,
  WAYS,
} from "./migrate/scenario.ts";
import { type CpuPlacement, describePlacement } from "./support/cpu_placement.ts";
import { waitForIdleMachine } from "./support/cpu_time.ts";
import type { Link } from "./support/link.ts";
import { LOOPBACK } from "./support/link.ts";
import { linkRate, withLinks } from "./support/links.ts";
import { describeMachine, formatMachine, qemuVersion } from "./support/machine.ts";
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
import { formatTarget } from "./support/target.ts";
import { withTries } from "./support/tries.ts";
import { inTurns } from "./support/turns.ts";
import { warmMemory } from "./support/warm_memory.ts";

const USAGE = `deno task bench:migrate [options]
  --link 10g,1g        default both; they need root and iproute2
  --way precopy,postcopy,hybrid  default all
  --share 20,150       bytes that the guest dirties a second, in per cent of the link's rate
  --size 2G            memory of the guest; a quarter of it on the slowest link
  --runs N             by each side, in turn; default 3
  --writers N          threads of our guest, default 8; QEMU's guest has one processor
  --limit SECONDS      a precopy that has not converged by then is cancelled; default 10
  --placement two-cpus   or one-cpu, scheduler: where the ends run
  --side ours,qemu     default both
  --part links,rest    the guest that writes over shaped links, the guest at rest over loopback
  --quick              one run of 256M
QEMU is /usr/bin/qemu-system-x86_64, or the command in QEMU_SYSTEM.`;

const SHARES = [0.2, 1.5];
const SIDES = ["ours", "qemu"] as const;
const PARTS = ["links", "rest"] as const;
const PAGE = 4096;
/** Memory of both ends, over the guest's. That of the destination is warmed again in every run. */
const MEMORY_OF_RUN = 2.2;
/** Tries that a migration by QEMU gets. */
const QEMU_TRIES = 3;
/** Runs of a precopy that does not converge: they all end at the limit. */
const RUNS_NOT_CONVERGING = 1;

type Side = typeof SIDES[number];

interface Plan {
  readonly size: number;
  readonly writers: number;
  readonly runs: number;
  readonly limit: number;
  readonly placement: CpuPlacement;
  readonly sides: readonly Side[];
  readonly scenarios: readonly Scenario[];
  /** Runs that were not counted, and why. */
  readonly notes: string[];
}

function show(side: Side, figures: MoveFigures): void {
  const { completed, total, downtime, rounds, transferred, sourceRate } = figures;
  const time = completed ? `${(total / 1000).toFixed(2)} s` : "cancelled";
  progress(
    `  by ${side}: ${time}, downtime ${downtime?.toFixed(1) ?? "-"} ms, ${rounds} rounds, ` +
      `${(transferred / 1e9).toFixed(2)} GB, ${sourceRate.toFixed(0)} pages/s`,
  );
}

/** Runs a migration by every side as often as asked for, taking turns in who begins. */
async function measure(
  move: Move,
  runs: number,
  plan: Plan,
): Promise<Record<Side, MoveFigures[]>> {
  const { sides, notes } = plan;
  const figures: Record<Side, MoveFigures[]> = { ours: [], qemu: [] };
  const binary = qemuFromEnvironment();
  const byQemu = () =>
    withTries(
      QEMU_TRIES,
      `by qemu, postcopy ${move.postcopy}`,
      notes,
      () => moveByQemu(move, binary),
    );
  await inTurns({ each: sides, runs, idleWait: 5 }, async (side) => {
    const result = await (side === "qemu" ? byQemu() : moveByUs(move));
    show(side, result);
    figures[side].push(result);
  });
  return figures;
}

async function measureLink(link: Link, rate: number, plan: Plan): Promise<Section> {
  const { size, writers, limit, placement } = plan;
  const rows: { scenario: Scenario; ours: MoveFigures[]; qemu: MoveFigures[] }[] = [];
  for (const scenario of plan.scenarios) {
    progress(`${link.name}, ${formatScenario(scenario)}`);
    const pages = Math.round(scenario.share * rate / 8 / PAGE);
    const postcopy = postcopyOf(scenario.way);
    const runs = converges(scenario) ? plan.runs : RUNS_NOT_CONVERGING;
    const move = { link, placement, size, writers, rate: pages, postcopy, limit };
    rows.push({ scenario, ...await measure(move, runs, plan) });
  }
  return { link: link.name, size, rows };
}

async function measureRest(ways: readonly Way[], plan: Plan): Promise<ThroughputRow[]> {
  const { size, writers, limit, placement } = plan;
  const rows: ThroughputRow[] = [];
  for (const way of ways) {
    if (way === "hybrid") continue;
    progress(`loopback, guest at rest, ${way}`);
    const postcopy = postcopyOf(way);
    const move = { link: LOOPBACK, placement, size, writers, rate: 0, postcopy, limit };
    rows.push({ way, size, ...await measure(move, plan.runs, plan) });
  }
  return rows;
}

async function main(options: RawOptions): Promise<void> {
  const quick = options["quick"] === true;
  const ways = listOption<Way>(options, "way", WAYS, WAYS);
  const plan: Plan = {
    size: sizeOption(options, "size", (quick ? 256 : 2048) * 2 ** 20),
    writers: countOption(options, "writers", 8),
    runs: countOption(options, "runs", quick ? 1 : 3),
    limit: countOption(options, "limit", 10) * 1000,
    placement: placementOption(options, ["two-cpus"])[0]!,
    sides: listOption<Side>(options, "side", SIDES, SIDES),
    scenarios: scenarios(ways, sharesOption(options["share"], SHARES)),
    notes: [],
  };
  const links = listOption(options, "link", ["10g", "1g"] as const, ["10g", "1g"]);
  const parts = listOption(options, "part", PARTS, PARTS);
  const binary = qemuFromEnvironment();
  const reason = plan.sides.includes("qemu") ? await whyNoQemu(binary) : undefined;
  if (reason !== undefined) throw new Error(reason);
  const version = await qemuVersion(binary.command).catch(() => undefined);
  const machine = await describeMachine(version);
  const warmth = warmMemory(plan.size * MEMORY_OF_RUN);
  const idleness = await waitForIdleMachine(10);
  progress(`${formatMachine(machine)}; ${(idleness.idle * 100).toFixed(0)} % idle`);
  const rest = parts.includes("rest") ? await measureRest(ways, plan) : [];
  const sections: Section[] = [];
  const linkNotes = await withLinks(parts.includes("links") ? links : [], async (link, name) => {
    const size = name === "1g" ? plan.size / 4 : plan.size;
    sections.push(await measureLink(link, linkRate(name), { ...plan, size }));
  });
  const targets = [...throughputTargets(rest), ...sections.flatMap(migrationTargets)];
  const notes = [...linkNotes, ...plan.notes];
  const { scenarios: _, ...settings } = plan;
  const content = { ...settings, warmth, idleness, notes, targets, rest, sections };
  const path = await writeResults("migrate", machine, content);
  print(
    `${formatMachine(machine)}. Median of ${plan.runs} run(s), ours and QEMU's in turn; ` +
      `${
        describePlacement(plan.placement)
      }; QEMU under TCG, one processor that writes as much as ` +
      `our ${plan.writers} threads; no zero pages. In brackets: ours over QEMU's, median of the pairs.`,
  );
  if (rest.length > 0) {
    print(`\n### Loopback, ${plan.size / 2 ** 20} MiB, guest at rest\n\n${throughputTable(rest)}`);
  }
  for (const section of sections) {
    print(`\n### ${section.link}, ${section.size / 2 ** 20} MiB\n`);
    print(`${migrationTable(section)}\n\n${guestTable(section)}`);
  }
  print(`\n${[...targets.map(formatTarget), ...notes.map((line) => `- ${line}`)].join("\n")}`);
  progress(`Results in ${path.pathname}`);
}

const valued = [
  "link",
  "way",
  "share",
  "size",
  "writers",
  "runs",
  "limit",
  "placement",
  "side",
  "part",
];
await runBenchmark({ usage: USAGE, valued, flags: ["quick"] }, main);
