/** How long a machine's devices take to load, with a commit per change of memory and with one. */

import { LiveRegion } from "../../server/live/live_region.ts";
import { type LoadReport, type LoadTransaction, Machine } from "../../workload/machine/machine.ts";
import { machineBlocks, type MachineOptions } from "../../workload/machine/options.ts";
import { median } from "../support/statistics.ts";

/** Both ways, in the order of the tables. */
export const WAYS: readonly LoadTransaction[] = ["per-change", "one"];

/** Loads by way, in the order they were done. */
export type Loads = Readonly<Record<LoadTransaction, readonly LoadReport[]>>;

/** Loads before the first that counts, by which the code is compiled. */
const WARM_UP = 5;

/**
 * Loads new machines with the state of one that was stopped, both ways in turn.
 *
 * @param options what the machine is made of
 * @param repeat loads of each way that count
 */
export function measureLoads(options: MachineOptions, repeat: number): Loads {
  using region = new LiveRegion({ blocks: machineBlocks(options) });
  const source = new Machine(options);
  source.attach(region.blocks);
  source.boot(1);
  const state = source.save();
  const loads: Record<LoadTransaction, LoadReport[]> = { "per-change": [], one: [] };
  for (let run = -WARM_UP; run < repeat; run++) {
    for (const transaction of WAYS) {
      const machine = new Machine(options);
      machine.attach(region.blocks);
      const report = machine.load(state, { transaction });
      machine.start(); // every queue is checked
      if (run >= 0) loads[transaction].push(report);
    }
  }
  return loads;
}

/** The median time of loads, in milliseconds. */
export function loadTime(reports: readonly LoadReport[]): number {
  return median(reports.map(({ total }) => total)) / 1e6;
}

/** The median share of commits in it, in milliseconds. */
export function commitTime(reports: readonly LoadReport[]): number {
  return median(reports.map(({ memory }) => memory.commitTime)) / 1e6;
}
