/** The downtime of a machine that moves between two processes. */

import type { SocketAddress } from "../../ffi/socket_address.ts";
import type { LoadTransaction } from "../../workload/machine/machine.ts";
import type { MachineOptions } from "../../workload/machine/options.ts";
import { BenchProcess } from "../support/bench_process.ts";
import { type CpuPlacement, placementPrefix } from "../support/cpu_placement.ts";
import type { DestinationReport, DestinationSetup } from "./machine_destination.ts";
import type { MoveCommand, SourceReport, SourceSetup } from "./machine_source.ts";

const SOURCE = new URL("./machine_source.ts", import.meta.url);
const DESTINATION = new URL("./machine_destination.ts", import.meta.url);

/** What moves, and how. */
export interface Move {
  readonly machine: MachineOptions;
  readonly transaction: LoadTransaction;
  readonly postcopy: "never" | "now";
  /** Loads in the destination's process before. */
  readonly warmUp: number;
  readonly placement: CpuPlacement;
}

/** What a downtime was spent on, in milliseconds. */
export interface DowntimeFigures {
  /** From the stop at the source until the machine was started at the destination. */
  readonly downtime: number;
  /** Stopping the machine. */
  readonly stop: number;
  /** Saving its devices. */
  readonly save: number;
  /** What is left: memory and state on their way, and answers. */
  readonly transfer: number;
  /** Loading its devices without commits. */
  readonly load: number;
  /** Commits of memory changes meanwhile. */
  readonly commit: number;
  /** Checking queues and starting them. */
  readonly start: number;
  /** Commits; and of these forced ones. */
  readonly commits: number;
  readonly forced: number;
}

/**
 * Moves a machine, and sees that it is the same afterwards.
 *
 * @throws {Error} when an end fails, or the machine is another
 */
export async function moveMachine(move: Move): Promise<DowntimeFigures> {
  const { machine, transaction, postcopy, warmUp, placement } = move;
  const setup: DestinationSetup = { machine, transaction, warmUp };
  await using destination = new BenchProcess(DESTINATION, {
    prefix: placementPrefix(placement, "destination"),
    args: [JSON.stringify(setup)],
  });
  const { to } = await destination.next<{ to: SocketAddress }>();
  const sourceSetup: SourceSetup = { machine };
  await using source = new BenchProcess(SOURCE, {
    prefix: placementPrefix(placement, "source"),
    args: [JSON.stringify(sourceSetup)],
  });
  await source.next();
  const command: MoveCommand = { to, postcopy };
  const [there, here] = await Promise.all([
    source.ask<SourceReport>(command),
    destination.next<DestinationReport>(),
  ]);
  if (there.digest !== here.digest) throw new Error("The machine that arrived is another");
  const downtime = (here.runningAt - there.stoppedAt) / 1e6;
  const { stop, save } = there.statistics["downtime-parts"]!;
  const { start } = here.statistics["downtime-parts"]!;
  const commit = here.memory.commitTime / 1e6;
  const load = here.load / 1e6 - commit;
  return {
    downtime,
    stop,
    save,
    transfer: downtime - stop - save - load - commit - start,
    load,
    commit,
    start,
    commits: here.memory.commits,
    forced: here.memory.forced,
  };
}
