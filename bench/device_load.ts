/**
 * How long a machine's devices take to load, and how long it stands still for that, with a commit per
 * change of its memory map and with one transaction around all of them.
 *
 * @module
 */

import type { LoadTransaction } from "../workload/machine/machine.ts";
import { type DowntimeFigures, type Move, moveMachine } from "./device_load/downtime.ts";
import { measureListeners } from "./device_load/listeners.ts";
import { measureLoads, WAYS } from "./device_load/loads.ts";
import {
  countTable,
  downtimeTable,
  forcedList,
  listenerTable,
  type LoadRow,
  loadTable,
  type MoveRow,
  type SweepRows,
  sweepTable,
  targets,
} from "./device_load/report.ts";
import { COUNTS, SET_UPS, type SetUp, SWEEPS } from "./device_load/set_ups.ts";
import { type CpuPlacement, describePlacement } from "./support/cpu_placement.ts";
import { waitForIdleMachine } from "./support/cpu_time.ts";
import { describeMachine, formatMachine } from "./support/machine.ts";
import { countOption, placementOption, type RawOptions } from "./support/options.ts";
import { print, progress } from "./support/progress.ts";
import { writeResults } from "./support/results.ts";
import { runBenchmark } from "./support/run.ts";
import { formatTarget } from "./support/target.ts";

const USAGE = `deno task bench:device-load [options]
  --repeat N       loads of each set-up and way, default 51
  --sweep N        loads of each point of the sweeps, default 15
  --moves N        migrations of each set-up and way, default 9
  --placement scheduler,one-cpu,two-cpus  of the migrations, default two-cpus
  --quick          9 loads, 5 of the sweeps, 2 migrations`;

/** How machines move: what is measured in a new process is mostly the compiler. */
const MOVES: readonly {
  readonly how: string;
  readonly postcopy: Move["postcopy"];
  warm: boolean;
}[] = [
  { how: "precopy", postcopy: "never", warm: true },
  { how: "precopy, new process", postcopy: "never", warm: false },
  { how: "postcopy", postcopy: "now", warm: true },
];

/** Loads in the destination's process before the one that counts. */
const WARM_UP = 15;

async function measureMoves(
  setUp: SetUp,
  placement: CpuPlacement,
  repeat: number,
): Promise<MoveRow[]> {
  const rows: MoveRow[] = [];
  for (const { how, postcopy, warm } of MOVES) {
    const moves: Record<LoadTransaction, DowntimeFigures[]> = { "per-change": [], one: [] };
    for (let run = 0; run < repeat; run++) {
      for (const transaction of WAYS) {
        const warmUp = warm ? WARM_UP : 0;
        const { options: machine } = setUp;
        const move: Move = { machine, transaction, postcopy, warmUp, placement };
        moves[transaction].push(await moveMachine(move));
      }
    }
    rows.push({ setUp, how, moves });
  }
  return rows;
}

function measureSweeps(repeat: number): SweepRows[] {
  return SWEEPS.map((sweep) => ({
    sweep,
    points: COUNTS.map((count) => {
      progress(`Loading ${sweep.fixed}, N = ${count}`);
      return { count, loads: measureLoads(sweep.options(count), repeat) };
    }),
  }));
}

async function main(options: RawOptions): Promise<void> {
  const quick = options["quick"] === true;
  const repeat = countOption(options, "repeat", quick ? 9 : 51);
  const sweepRepeat = countOption(options, "sweep", quick ? 5 : 15);
  const moveRepeat = countOption(options, "moves", quick ? 2 : 9);
  const placements = placementOption(options, ["two-cpus"]);
  const machine = await describeMachine();
  const idleness = await waitForIdleMachine(10);
  progress(`${formatMachine(machine)}; ${(idleness.idle * 100).toFixed(0)} % idle`);

  const rows: LoadRow[] = SET_UPS.map((setUp) => {
    progress(`Loading ${setUp.name}`);
    return { setUp, loads: measureLoads(setUp.options, repeat) };
  });
  const sweeps = measureSweeps(sweepRepeat);
  progress("Telling the kernel of changes");
  const listeners = measureListeners();
  const moves: { placement: CpuPlacement; rows: MoveRow[] }[] = [];
  for (const placement of placements) {
    const rows: MoveRow[] = [];
    for (const setUp of SET_UPS) {
      progress(`Moving ${setUp.name}, ${describePlacement(placement)}`);
      rows.push(...await measureMoves(setUp, placement, moveRepeat));
    }
    moves.push({ placement, rows });
  }

  const met = targets(rows, sweeps);
  const content = { idleness, rows, sweeps, listeners, moves, targets: met };
  const path = await writeResults("device_load", machine, content);
  print(`${formatMachine(machine)}. Medians; ratios load by load.\n`);
  print(`### Loading devices, a commit per change and one transaction\n\n${loadTable(rows)}\n`);
  print(`${countTable(rows)}\n`);
  print(`### Commits forced inside of the transaction\n\n${forcedList(rows)}\n`);
  for (const each of sweeps) print(`### ${each.sweep.fixed}\n\n${sweepTable(each)}\n`);
  for (const { placement, rows } of moves) {
    print(`### Downtime between two processes, ${describePlacement(placement)}, ms\n`);
    print(`${downtimeTable(rows)}\n`);
  }
  print(`### Telling the kernel\n\n${listenerTable(listeners)}\n`);
  if (listeners.kvmAbsence !== undefined) print(`No KVM: ${listeners.kvmAbsence}\n`);
  print(met.map(formatTarget).join("\n"));
  progress(`Results in ${path.pathname}`);
}

const valued = ["repeat", "sweep", "moves", "placement"];
await runBenchmark({ usage: USAGE, valued, flags: ["quick"] }, main);
