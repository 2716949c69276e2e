/**
 * What looking at a daemon costs those whose pages it serves: how long guests wait for a page while a dashboard
 * reads its events, its metrics are scraped every second and clients ask for its sessions, and while nobody does.
 *
 * @module
 */

import { type DaemonRow, measureDaemon } from "./daemon/measure.ts";
import { daemonTable, daemonTargets } from "./daemon/report.ts";
import { type CpuPlacement, describePlacement } from "./support/cpu_placement.ts";
import { waitForIdleMachine } from "./support/cpu_time.ts";
import { describeMachine, formatMachine } from "./support/machine.ts";
import { countOption, placementOption, type RawOptions } from "./support/options.ts";
import { print, progress } from "./support/progress.ts";
import { writeResults } from "./support/results.ts";
import { runBenchmark } from "./support/run.ts";
import { formatTarget } from "./support/target.ts";
import { WorkloadImages } from "./support/workload_images.ts";

const USAGE = `deno task bench:daemon [options]
  --sessions N     default 10
  --processes N    that hold the destinations, default 2
  --rate N         touches of missing pages a second, all sessions together; default 500
  --count N        touches of a walk, default 5000
  --pairs N        of walks, one looked at and one not; default 7
  --clients N      of the interface, each asks once a second; default 50
  --placement scheduler,one-cpu,two-cpus  default two-cpus
  --quick          2 sessions, one pair of walks of 1000`;

interface Section {
  readonly placement: CpuPlacement;
  readonly row: DaemonRow;
}

async function main(options: RawOptions): Promise<void> {
  const quick = options["quick"] === true;
  using images = new WorkloadImages();
  const settings = {
    sessions: countOption(options, "sessions", quick ? 2 : 10),
    processes: countOption(options, "processes", 2),
    rate: countOption(options, "rate", 500),
    count: countOption(options, "count", quick ? 1000 : 5000),
    pairs: countOption(options, "pairs", quick ? 1 : 7),
    clients: countOption(options, "clients", 50),
  };
  const machine = await describeMachine();
  const idleness = await waitForIdleMachine(10);
  progress(`${formatMachine(machine)}; ${(idleness.idle * 100).toFixed(0)} % idle`);
  const sections: Section[] = [];
  for (const placement of placementOption(options, ["two-cpus"])) {
    progress(describePlacement(placement));
    sections.push({ placement, row: await measureDaemon({ ...settings, images, placement }) });
  }
  const targets = sections.flatMap(({ row }) => daemonTargets(row));
  const path = await writeResults("daemon", machine, { idleness, settings, targets, sections });
  print(
    `${
      formatMachine(machine)
    }. ${settings.sessions} sessions, ${settings.rate} touches a second in all; ` +
      `${settings.pairs} pairs of walks of ${settings.count}. Who looks is at idle priority, as if elsewhere.\n`,
  );
  for (const { placement, row } of sections) {
    print(`### ${describePlacement(placement)}\n\n${daemonTable(row)}\n`);
    print(`${daemonTargets(row).map(formatTarget).join("\n")}\n`);
  }
  progress(`Results in ${path.pathname}`);
}

const valued = ["sessions", "processes", "rate", "count", "pairs", "clients", "placement"];
await runBenchmark({ usage: USAGE, valued, flags: ["quick"] }, main);
