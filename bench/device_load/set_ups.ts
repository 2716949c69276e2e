/** The machines that are loaded: the published ones, and a sweep. */

import type { MachineOptions } from "../../workload/machine/options.ts";

/** A figure before and after. */
export interface Published {
  /** A commit per change. */
  readonly before: number;
  /** One transaction. */
  readonly after: number;
}

/** A published set-up with its figures, in milliseconds. */
export interface SetUp {
  /** As in the tables. */
  readonly name: string;
  readonly options: MachineOptions;
  readonly load: Published;
  readonly downtime: Published;
}

function machine(nets: number, pairs: number, blocks: number, queues: number): MachineOptions {
  return { netDevices: nets, netQueues: pairs, blockDevices: blocks, blockQueues: queues };
}

/** The published table (docs/benchmarks.md, published 5). */
export const SET_UPS: readonly SetUp[] = [
  {
    name: "8 net x 16 queues, 16 block x 4",
    options: machine(8, 16, 16, 4),
    load: { before: 112, after: 44 },
    downtime: { before: 285, after: 208 },
  },
  {
    name: "8 net x 1, 16 block x 1",
    options: machine(8, 1, 16, 1),
    load: { before: 65, after: 30 },
    downtime: { before: 151, after: 110 },
  },
  {
    name: "1 net x 16, 1 block x 4",
    options: machine(1, 16, 1, 4),
    load: { before: 24, after: 12 },
    downtime: { before: 51, after: 38 },
  },
];

/** A row of machines of which one number grows. */
export interface Sweep {
  /** What grows. */
  readonly name: "devices" | "queues";
  /** What stays. */
  readonly fixed: string;
  /** Makes the machine for a number. */
  readonly options: (count: number) => MachineOptions;
}

/** One request in flight whatever the size, so that as many commits are forced. */
const BUSY = { busyBlockDevices: 1 };

/** Devices, then queues. */
export const SWEEPS: readonly Sweep[] = [
  {
    name: "devices",
    fixed: "N net and N block devices, 4 queues each",
    options: (count) => ({ ...machine(count, 4, count, 4), ...BUSY }),
  },
  {
    name: "queues",
    fixed: "8 net and 8 block devices, N queues each",
    options: (count) => ({ ...machine(8, count, 8, count), ...BUSY }),
  },
];

/** What grows in a sweep. */
export const COUNTS: readonly number[] = [1, 2, 4, 8, 16, 32, 64];
