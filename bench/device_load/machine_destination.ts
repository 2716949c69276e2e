/**
 * Child process: a destination with a machine.
 *
 * Argument: {@linkcode DestinationSetup} as JSON. First line out: `{"to":ADDRESS}`; after the migration:
 * {@linkcode DestinationReport}. Ends with its standard input.
 *
 * @module
 */

import { Destination } from "../../client/destination.ts";
import type { DestinationStatistics } from "../../client/statistics.ts";
import { monotonicNanoseconds } from "../../ffi/clock.ts";
import type { MemoryStatistics } from "../../migration/address_space/memory_core.ts";
import type { LoadTransaction } from "../../workload/machine/machine.ts";
import { MachineGuest } from "../../workload/machine/machine_guest.ts";
import type { MachineOptions } from "../../workload/machine/options.ts";
import { snapshot } from "../../workload/machine/snapshot.ts";
import { answerLines, say } from "../support/bench_process.ts";
import { digest } from "./digest.ts";
import { measureLoads } from "./loads.ts";

/** What arrives, and how. */
export interface DestinationSetup {
  readonly machine: MachineOptions;
  /** How memory changes are committed while devices are loaded. */
  readonly transaction: LoadTransaction;
  /** Loads of such a machine before, each way, for which the code is compiled; 0 for a new process. */
  readonly warmUp: number;
}

/** How it went. */
export interface DestinationReport {
  /** When the machine was started, monotonic nanoseconds of this host. */
  readonly runningAt: number;
  /** Nanoseconds of loading its devices, with all commits. */
  readonly load: number;
  /** Commits of memory changes and what came of them, up to the end of loading. */
  readonly memory: MemoryStatistics;
  /** Who forced commits. */
  readonly forcedBy: readonly string[];
  /** The destination's own statistics. */
  readonly statistics: DestinationStatistics;
  /** Of the machine when it was stopped again. */
  readonly digest: string;
}

class TimedGuest extends MachineGuest {
  runningAt = 0;
  memory: MemoryStatistics | undefined;

  override start(): void {
    this.memory = { ...this.arrived.memory.statistics };
    super.start();
    this.runningAt = monotonicNanoseconds();
  }
}

const { machine, transaction, warmUp } = JSON.parse(Deno.args[0]!) as DestinationSetup;
if (warmUp > 0) measureLoads(machine, warmUp);
const guest = new TimedGuest(machine, transaction);
const destination = new Destination({ guest });
const to = await destination.listen({ transport: "tcp", host: "127.0.0.1", port: 0 });
say({ to });
await destination.finished;
const { arrived } = guest;
const statistics = destination.statistics();
const { load, commit } = statistics["downtime-parts"]!;
arrived.stop();
const report: DestinationReport = {
  runningAt: guest.runningAt,
  load: (load + commit) * 1e6,
  memory: guest.memory!,
  forcedBy: arrived.reader.forcedBy,
  statistics,
  digest: await digest(snapshot(arrived)),
};
say(report);
await answerLines(() => Promise.resolve({}));
await destination.close();
Deno.exit(0);
