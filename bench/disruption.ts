/**
 * What a guest gets done while it is restored: work lost, and its floor, with a stock QEMU as the
 * destination and in turn QEMU and `serve` as the source; and from Deno to Deno.
 *
 * @module
 */

import { qemuFromEnvironment, whyNoQemu } from "../qemu/qemu_binary.ts";
import { TIMING } from "./disruption/figures.ts";
import {
  keepOffGuestCpu,
  type Placement,
  PLACEMENT_TITLES,
  PLACEMENTS,
} from "./disruption/placement.ts";
import { newerQemu } from "./disruption/newer_qemu.ts";
import { disruptionTable, spreadTable } from "./disruption/report.ts";
import { RestorableGuests } from "./disruption/restorable_guest.ts";
import { GUEST_NAMES, type GuestName, type Row } from "./disruption/row.ts";
import {
  GuestsAtRest,
  makeSides,
  type Orders,
  serveKnowsOrders,
  type SidesSetup,
} from "./disruption/sides.ts";
import { disruptionTargets } from "./disruption/targets.ts";
import { measureTurns } from "./disruption/turns.ts";
import { waitForIdleMachine } from "./support/cpu_time.ts";
import { describeMachine, formatMachine, type Machine, qemuVersion } from "./support/machine.ts";
import {
  countOption,
  listOption,
  type RawOptions,
  sizeOption,
  UsageError,
} from "./support/options.ts";
import { print, progress } from "./support/progress.ts";
import { writeResults } from "./support/results.ts";
import { runBenchmark } from "./support/run.ts";
import { formatTarget } from "./support/target.ts";
import { TemporaryDirectory } from "./support/temporary_directory.ts";
import { warmMemory } from "./support/warm_memory.ts";
import { WorkloadImages } from "./support/workload_images.ts";

const USAGE = `deno task bench:disruption [options]
  --guest random,redis  guests in QEMU, default these two; also sequential, hot (90 % of writes
                        to 10 % of memory), script (started at the restore), and workload: ours
                        from Deno to Deno beside QEMU's random one
  --placement two-cpus  source on CPU 0, destination on CPU 1; also vcpu-alone (the guest's
                        processor on CPU 1, all else on CPU 0), scheduler
  --background free,limited  rates of the background stream, default both
  --limit 100M          bytes a second where it is limited
  --size 512M           memory of the guest
  --pairs N             runs of each side, in turn; default 5
  --record SECONDS      of the first restore, so that its order has all that the guest touches
  --without-order       leaves out the second restore, with the order of the first
  --kernel FILE         for redis and script; default the last in /boot, else Debian's, downloaded
  --quick               one pair, 192M
QEMU is the command in QEMU_SYSTEM, else 11.1 in the tree that test:peers has made, else
/usr/bin/qemu-system-x86_64. From 10.1 on it reports fault latency. Redis and, where there is
none, the kernel are Debian's packages, unpacked in .cache. One guest at one placement and both
rates takes 3 to 4 minutes at five pairs.`;

const BACKGROUNDS = ["free", "limited"] as const;
/** Memory of both ends and of the image, over the guest's. */
const MEMORY_OF_RUN = 3;
/** Seconds before a run. */
const IDLE_WAIT = 5;
/** Linux, its files and a database do not fit in less. */
const LEAST_LINUX = 160 * 2 ** 20;

interface Plan {
  readonly guests: readonly GuestName[];
  readonly placements: readonly Placement[];
  readonly limits: readonly number[];
  readonly memory: number;
  readonly pairs: number;
}

function planOf(options: RawOptions): Plan {
  const quick = options["quick"] === true;
  const memory = sizeOption(options, "size", (quick ? 192 : 512) * 2 ** 20);
  if (memory % 2 ** 20 !== 0) {
    throw new UsageError(`--size takes whole MiB, as QEMU does: ${options["size"]}`);
  }
  const guests = listOption<GuestName>(options, "guest", GUEST_NAMES, ["random", "redis"]);
  if (memory < LEAST_LINUX && (guests.includes("redis") || guests.includes("script"))) {
    throw new UsageError(`--size must be at least 160M for redis and script: ${options["size"]}`);
  }
  const limit = sizeOption(options, "limit", 100 * 2 ** 20);
  const backgrounds = listOption(options, "background", BACKGROUNDS, BACKGROUNDS);
  return {
    guests,
    placements: listOption(options, "placement", PLACEMENTS, ["two-cpus"]),
    limits: backgrounds.map((name) => name === "free" ? 0 : limit),
    memory,
    pairs: countOption(options, "pairs", quick ? 1 : 5),
  };
}

/** What holds for all tables. */
function caption(machine: Machine, { memory, pairs }: Plan): string {
  return `${formatMachine(machine)}. Guest of ${memory / 2 ** 20} MiB (TCG) in a stock QEMU, ` +
    `restored by serve and, in turn, by a QEMU in which it ran; median of ${pairs} run(s) of each. ` +
    `Work lost: what it did less than undisturbed in its first ${TIMING.window / 1000} s. Floor: ` +
    "the same when all memory is there before it runs. CPU: without the guest's processor " +
    "(Deno to Deno: destination with its guest); serve's with its start.";
}

async function measure(
  { guests, placements, limits, pairs }: Plan,
  setup: SidesSetup,
  note: (text: string) => void,
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const placement of placements) {
    await using _ = await keepOffGuestCpu(placement);
    for (const guest of guests) {
      progress(`${guest}, ${PLACEMENT_TITLES[placement]}`);
      const sides = await makeSides(guest, placement, setup);
      const { window } = setup.timing;
      const turns = { guest, placement, limits, window, turns: pairs, idleWait: IDLE_WAIT };
      rows.push(...await measureTurns(sides, turns, note));
    }
  }
  return rows;
}

/** Reads how orders are made; undefined when there is none. */
async function ordersOf(options: RawOptions): Promise<Orders | undefined> {
  const record = options["record"] === undefined ? undefined : countOption(options, "record", 1);
  const known = options["without-order"] !== true && await serveKnowsOrders();
  if (known) return { record };
  if (record === undefined) return undefined;
  throw new UsageError(`--record needs a serve that keeps orders: ${options["record"]}`);
}

async function main(options: RawOptions): Promise<void> {
  const plan = planOf(options);
  using newer = newerQemu();
  if (newer !== undefined) Deno.env.set("QEMU_SYSTEM", newer.command);
  const binary = qemuFromEnvironment();
  const reason = await whyNoQemu(binary);
  if (reason !== undefined) throw new Error(reason);
  const machine = await describeMachine(await qemuVersion(binary.command));
  const orders = await ordersOf(options);
  const warmth = warmMemory(plan.memory * MEMORY_OF_RUN);
  const idleness = await waitForIdleMachine(10);
  progress(`${formatMachine(machine)}; ${(idleness.idle * 100).toFixed(0)} % idle`);
  const kernel = options["kernel"] === undefined ? undefined : String(options["kernel"]);
  using guests = new RestorableGuests({ binary, memory: plan.memory, kernel });
  using directory = new TemporaryDirectory();
  using images = new WorkloadImages();
  const atRest = new GuestsAtRest(guests, directory.path);
  const notes: string[] = [];
  const note = (text: string): void => {
    progress(`  ${text}`);
    notes.push(text);
  };
  const { memory, limits } = plan;
  const setup = { atRest, images, memory, timing: TIMING, limits, orders };
  const rows = await measure(plan, setup, note);
  if (orders === undefined) {
    note("second restores left out: serve keeps no order, or was told not to");
  } else if (orders.record !== undefined) {
    note(`second restores follow a first that held its background back for ${orders.record} s`);
  }
  const targets = disruptionTargets(rows);
  const content = { ...plan, orders, timing: TIMING, warmth, idleness, notes, targets, rows };
  const path = await writeResults("disruption", machine, content);
  print(caption(machine, plan));
  for (const placement of plan.placements) {
    const here = rows.filter((row) => row.placement === placement);
    print(`\n### ${PLACEMENT_TITLES[placement]}\n`);
    print(`${disruptionTable(here)}\n\n${spreadTable(here)}`);
  }
  const lines = [...targets.map(formatTarget), ...notes.map((line) => `- ${line}`)];
  if (lines.length > 0) print(`\n${lines.join("\n")}`);
  progress(`Results in ${path.pathname}`);
}

const valued = [
  ...["guest", "placement", "background", "limit", "size", "pairs", "kernel", "record"],
];
await runBenchmark({ usage: USAGE, valued, flags: ["quick", "without-order"] }, main);
