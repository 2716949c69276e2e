/**
 * Child process: a machine that runs, and migrates to where it is told.
 *
 * Argument: {@linkcode SourceSetup} as JSON. First line out: `{"done":N}` once it runs. Each line in is
 * a {@linkcode MoveCommand}; the answer to it is a {@linkcode SourceReport}.
 *
 * @module
 */

import type { SocketAddress } from "../../ffi/socket_address.ts";
import { LiveRegion } from "../../server/live/live_region.ts";
import { LiveSource } from "../../server/live/live_source.ts";
import type { LiveStatistics } from "../../server/live/live_statistics.ts";
import { LiveMachine } from "../../workload/machine/machine_guest.ts";
import { machineBlocks, type MachineOptions } from "../../workload/machine/options.ts";
import { snapshot } from "../../workload/machine/snapshot.ts";
import { answerLines, say } from "../support/bench_process.ts";
import { digest } from "./digest.ts";

/** What runs. */
export interface SourceSetup {
  readonly machine: MachineOptions;
}

/** Where to, and how. */
export interface MoveCommand {
  readonly to: SocketAddress;
  readonly postcopy: "never" | "now";
}

/** How it went. */
export interface SourceReport {
  /** When the guest was told to stop, monotonic nanoseconds of this host. */
  readonly stoppedAt: number;
  /** The source's own statistics. */
  readonly statistics: LiveStatistics;
  /** Of the machine as it was stopped. */
  readonly digest: string;
}

/**
 * Milliseconds that precopy may leave for the end: as little as the rings that the guest writes to all
 * the time. What is left of its memory would hide what its devices take.
 */
const DOWNTIME_LIMIT = 10;

const { machine: options } = JSON.parse(Deno.args[0]!) as SourceSetup;
using region = new LiveRegion({ blocks: machineBlocks(options) });
using guest = new LiveMachine(region.blocks, options);
say({ done: guest.done });
await answerLines(async (message) => {
  const { to, postcopy } = message as MoveCommand;
  const how = { to, postcopy, downtimeLimit: DOWNTIME_LIMIT };
  await using source = new LiveSource(region, guest, how);
  const statistics = await source.run();
  const report: SourceReport = {
    stoppedAt: source.stoppedAt!,
    statistics,
    digest: await digest(snapshot(guest.machine)),
  };
  return report;
});
Deno.exit(0);
