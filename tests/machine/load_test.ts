/** A machine that was loaded is the machine that was saved. */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import type { MachineOptions } from "../../workload/machine/options.ts";
import { differences, snapshot } from "../../workload/machine/snapshot.ts";
import { Traffic } from "../../workload/machine/traffic.ts";
import { Random } from "../support/random.ts";
import {
  assertSameMachine,
  newMachine,
  PUBLISHED,
  setUpText,
  stoppedMachine,
  TRANSACTIONS,
} from "./machines.ts";

const MIB = 2 ** 20;

for (const options of PUBLISHED) {
  for (const transaction of TRANSACTIONS) {
    Deno.test(
      `Machine.load restores ${setUpText(options)} in memory of its own, ${transaction}`,
      () => {
        const { machine, memory } = stoppedMachine(options);
        const other = newMachine(options, memory.copy());
        other.load(machine.save(), { transaction });
        assertSameMachine(machine, other);
        for (const each of [machine, other]) {
          each.start();
          new Traffic(each, 5).run(200);
        }
        assertSameMachine(machine, other);
        other.stop();
        assertNotEquals(differences(snapshot(machine), snapshot(other)), []); // events are gone
        machine.stop();
        assertEquals(other.save(), machine.save());
      },
    );
  }
}

function randomOptions(random: Random): MachineOptions {
  const ramBytes = 2 * MIB * random.between(8, 24);
  const blockDevices = random.below(10);
  return {
    netDevices: random.below(10),
    netQueues: random.between(1, 8),
    blockDevices,
    blockQueues: random.between(1, 8),
    busyBlockDevices: random.between(0, blockDevices),
    processors: random.between(1, 8),
    queueSize: 2 ** random.between(1, 8),
    ramBytes,
    maxRamBelow4G: 2 * MIB * random.between(2, ramBytes / 2 / MIB),
  };
}

for (const transaction of TRANSACTIONS) {
  Deno.test(`Machine.load restores random machines, ${transaction}`, () => {
    for (let seed = 1; seed <= 40; seed++) {
      const options = randomOptions(new Random(seed));
      const { machine, memory } = stoppedMachine(options, seed);
      const other = newMachine(options, memory);
      try {
        other.load(machine.save(), { transaction });
        assertSameMachine(machine, other);
        other.start();
        other.stop();
        assertEquals(other.save(), machine.save());
      } catch (cause) {
        throw new Error(`Seed ${seed}: ${JSON.stringify(options)}`, { cause });
      }
    }
  });
}

Deno.test("Machine.load twice, from machine to machine, restores the first", () => {
  const options = { ...PUBLISHED[2], ramBytes: 64 * MIB, maxRamBelow4G: 32 * MIB };
  const { machine, memory } = stoppedMachine(options, 3);
  const second = newMachine(options, memory);
  second.load(machine.save());
  second.start();
  second.stop();
  const third = newMachine(options, memory);
  third.load(second.save(), { transaction: "per-change" });
  assertSameMachine(machine, third);
});

Deno.test("A loaded machine's rings are read from its own memory", () => {
  const options = PUBLISHED[2]!;
  const { machine, memory } = stoppedMachine(options);
  const copy = memory.copy();
  const other = newMachine(options, copy);
  other.load(machine.save());
  const queue = machine.netDevices[0]!.queues[3]!;
  const { data, offset } = queue.cache!.descriptors;
  const head = queue.headAt(queue.lastAvailable);
  data.setUint32(offset + 16 * head + 8, 77, true); // length of a buffer
  const found = differences(snapshot(machine), snapshot(other));
  assertEquals(found.length, 1);
  assert(/queues\.3\.contents\.chains.*length: 77 and/.test(found[0]!), found[0]);
});

Deno.test("The ring walk finds the buffers that the driver wrote, in low and in high memory", () => {
  const options = { ...PUBLISHED[0], ramBytes: 64 * MIB, maxRamBelow4G: 32 * MIB };
  const { machine } = stoppedMachine(options);
  const { devices } = snapshot(machine);
  const chains = Object.values(devices)
    .flatMap(({ queues }) => queues.flatMap(({ contents }) => contents!.chains));
  const buffers = chains.flatMap(({ buffers }) => buffers);
  const high = buffers.filter(({ address }) => address >= 2 ** 32);
  assert(chains.length > 320 && high.length > 100 && buffers.length - high.length > 100);
  for (const { address, block, offset } of buffers) {
    assertEquals(block, "pc.ram");
    assertEquals(offset, address < 2 ** 32 ? address : address - 2 ** 32 + 32 * MIB);
  }
});

Deno.test("A machine's backends know all RAM that is seen, at both ends", () => {
  const options = { ...PUBLISHED[1], ramBytes: 64 * MIB, maxRamBelow4G: 32 * MIB };
  const { machine, memory } = stoppedMachine(options);
  const other = newMachine(options, memory);
  other.load(machine.save());
  for (const each of [machine, other]) {
    const { map, netDevices, blockDevices } = each;
    const ram = map.memory.flatView().ranges.filter(({ region }) => region.kind === "ram");
    const bytes = ram.reduce((sum, { length }) => sum + length, 0);
    for (const { backends } of [...netDevices, ...blockDevices]) {
      for (const { table } of backends) {
        assertEquals(table.reduce((sum, { length }) => sum + length, 0), bytes);
        assert(table.some(({ start, block }) => start === 2 ** 32 && block === "pc.ram"));
      }
    }
  }
});
