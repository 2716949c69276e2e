/** Machines for tests, with memory that is plain arrays. */

import { assertEquals } from "@std/assert";
import { GuestRam } from "../../workload/machine/guest_ram.ts";
import { type LoadTransaction, Machine } from "../../workload/machine/machine.ts";
import { machineBlocks, type MachineOptions } from "../../workload/machine/options.ts";
import { differences, snapshot } from "../../workload/machine/snapshot.ts";
import { Traffic } from "../../workload/machine/traffic.ts";

/** The published set-ups (docs/benchmarks.md, published 5). */
export const PUBLISHED: readonly MachineOptions[] = [
  { netDevices: 8, netQueues: 16, blockDevices: 16, blockQueues: 4 },
  { netDevices: 8, netQueues: 1, blockDevices: 16, blockQueues: 1 },
  { netDevices: 1, netQueues: 16, blockDevices: 1, blockQueues: 4 },
];

/** Both ways to load. */
export const TRANSACTIONS: readonly LoadTransaction[] = ["one", "per-change"];

/** Says a set-up in a few words. */
export function setUpText(options: MachineOptions): string {
  const { netDevices, netQueues, blockDevices, blockQueues } = options;
  return `${netDevices} x ${netQueues} + ${blockDevices} x ${blockQueues} queues`;
}

/** A machine's RAM in arrays. */
export class TestRam {
  readonly #bytes: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
  /** For `Machine.attach`. */
  readonly ram: GuestRam;

  constructor(bytes: ReadonlyMap<string, Uint8Array<ArrayBuffer>>) {
    this.#bytes = bytes;
    this.ram = new GuestRam(bytes);
  }

  /** Makes the memory of a machine, all zeros. */
  static of(options: MachineOptions): TestRam {
    const blocks = machineBlocks(options);
    return new TestRam(new Map(blocks.map(({ name, length }) => [name, new Uint8Array(length)])));
  }

  /** A copy of all of it. */
  copy(): TestRam {
    return new TestRam(new Map([...this.#bytes].map(([name, bytes]) => [name, bytes.slice()])));
  }
}

/** Makes a machine that has been booted and has run, and is stopped. */
export function stoppedMachine(
  options: MachineOptions,
  seed = 1,
): { readonly machine: Machine; readonly memory: TestRam } {
  const memory = TestRam.of(options);
  const machine = new Machine({ debug: true, ...options });
  machine.attach(memory.ram);
  machine.boot(seed);
  machine.start();
  new Traffic(machine, seed).run(100);
  machine.stop();
  return { machine, memory };
}

/** Makes a new machine with that memory. */
export function newMachine(options: MachineOptions, memory: TestRam): Machine {
  const machine = new Machine({ debug: true, ...options });
  machine.attach(memory.ram);
  return machine;
}

/** Sees that two machines are equal in all that a snapshot has. */
export function assertSameMachine(one: Machine, other: Machine): void {
  assertEquals(differences(snapshot(one), snapshot(other)), []);
}
