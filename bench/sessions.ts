/**
 * Many sessions from one server process: what they cost at rest, how long their guests wait for pages at a
 * rate that is the same for any number of them, what one that floods the server does to the others, and how
 * fast all of them stream; beside it a plain floor with as many connections on one epoll thread.
 *
 * @module
 */

import { latencyTable, restTable, streamTable } from "./sessions/report.ts";
import { measureSessions, type SessionsPlan, type SessionsRow } from "./sessions/measure.ts";
import { descriptorLimitOf } from "./sessions/process_cost.ts";
import { sessionsTargets } from "./sessions/targets.ts";
import { type CpuPlacement, describePlacement } from "./support/cpu_placement.ts";
import { waitForIdleMachine } from "./support/cpu_time.ts";
import { describeMachine, formatMachine } from "./support/machine.ts";
import {
  countOption,
  countsOption,
  placementOption,
  type RawOptions,
  sizeOption,
  wordOption,
} from "./support/options.ts";
import { print, progress } from "./support/progress.ts";
import { writeResults } from "./support/results.ts";
import { runBenchmark } from "./support/run.ts";
import { formatTarget } from "./support/target.ts";
import { warmMemory } from "./support/warm_memory.ts";
import { WorkloadImages } from "./support/workload_images.ts";

const USAGE = `deno task bench:sessions [options]
  --sessions 1,10,100,1000  default these
  --processes N    that hold the destinations, default 4
  --rate N         touches of missing pages a second, all sessions together; default 500
  --count N        touches of a walk, default 3000
  --repeat N       walks of each kind: alone, floor, beside a flood; default 3
  --rest N         seconds at rest without and with sessions, default 15
  --flood page     or block: what each request of the flood asks for
  --stream 2G      memory of all guests that stream together
  --placement scheduler,one-cpu,two-cpus  default two-cpus
  --quick          1 and 10 sessions, one walk of 500, 3 seconds, 128M
A session takes up to 8 descriptors in a process: the server needs some 8,300 for a thousand (ulimit -n).`;

/** Descriptors of a session in one process, and of the process itself. */
const DESCRIPTORS = { session: 8, process: 300 };

/** @throws {Error} when so many sessions cannot be had */
async function checkDescriptors(sessions: number): Promise<void> {
  const needed = sessions * DESCRIPTORS.session + DESCRIPTORS.process;
  const limit = await descriptorLimitOf("self");
  if (limit >= needed) return;
  throw new Error(
    `${sessions} sessions need some ${needed} descriptors in a process, the limit is ${limit}: ` +
      "raise it with ulimit -n",
  );
}

interface Section {
  readonly placement: CpuPlacement;
  readonly rows: readonly SessionsRow[];
}

function show({ placement, rows }: Section): void {
  print(`### ${describePlacement(placement)}\n`);
  print(`At rest; memory, descriptors and wake-ups of each session:\n\n${restTable(rows)}\n`);
  print(`Waits for a page:\n\n${latencyTable(rows)}\n`);
  print(`${streamTable(rows)}\n`);
  print(`${sessionsTargets(rows).map(formatTarget).join("\n")}\n`);
}

async function main(options: RawOptions): Promise<void> {
  const quick = options["quick"] === true;
  using images = new WorkloadImages();
  const counts = countsOption(options, "sessions", quick ? [1, 10] : [1, 10, 100, 1000]);
  const plan: Omit<SessionsPlan, "placement"> = {
    images,
    processes: countOption(options, "processes", 4),
    rate: countOption(options, "rate", 500),
    count: countOption(options, "count", quick ? 500 : 3000),
    repeat: countOption(options, "repeat", quick ? 1 : 3),
    rest: countOption(options, "rest", quick ? 3 : 15),
    flood: wordOption(options, "flood", ["page", "block"]),
    stream: sizeOption(options, "stream", quick ? 128 * 2 ** 20 : 2 * 2 ** 30),
  };
  await checkDescriptors(Math.max(...counts));
  const machine = await describeMachine();
  const warmth = warmMemory(plan.stream * 2);
  const idleness = await waitForIdleMachine(10);
  progress(`${formatMachine(machine)}; ${(idleness.idle * 100).toFixed(0)} % idle`);
  const sections: Section[] = [];
  for (const placement of placementOption(options, ["two-cpus"])) {
    progress(describePlacement(placement));
    const rows: SessionsRow[] = [];
    for (const sessions of counts.toSorted((a, b) => a - b)) {
      rows.push(await measureSessions(sessions, { ...plan, placement }));
    }
    sections.push({ placement, rows });
  }
  const { images: _, ...settings } = plan;
  const targets = sections.flatMap(({ rows }) => sessionsTargets(rows));
  const path = await writeResults("sessions", machine, {
    warmth,
    idleness,
    settings,
    targets,
    sections,
  });
  print(
    `${formatMachine(machine)}. ${plan.rate} touches a second in all, destinations in up to ` +
      `${plan.processes} processes; median of ${plan.repeat} repetitions.\n`,
  );
  sections.forEach(show);
  progress(`Results in ${path.pathname}`);
}

const valued = [
  ...["sessions", "processes", "rate", "count", "repeat", "rest", "flood", "stream", "placement"],
];
await runBenchmark({ usage: USAGE, valued, flags: ["quick"] }, main);
