/** States that are not what the machine saves: it says why, and does not run. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { DeviceStateError } from "../../migration/device/mod.ts";
import { MachineError } from "../../workload/machine/machine_error.ts";
import type { Machine } from "../../workload/machine/machine.ts";
import type { MachineOptions } from "../../workload/machine/options.ts";
import { newMachine, stoppedMachine, type TestRam, TRANSACTIONS } from "./machines.ts";

const OPTIONS: MachineOptions = { netDevices: 2, netQueues: 2, blockDevices: 2, blockQueues: 2 };

/** Sees that loading fails for a reason, and that the machine then refuses to run for that reason. */
function assertRefused(machine: Machine, load: () => void, reason: RegExp): void {
  const error = assertThrows(load) as Error;
  assert(reason.test(error.message), error.message);
  assertEquals(machine.memory.depth, 0);
  machine.map.memory.flatView(); // consistent, whatever was loaded
  const refused = assertThrows(() => machine.start(), MachineError);
  assertEquals([refused.code, machine.status], ["WRONG_STATE", "broken"]);
  assert(refused.message.includes(error.message), refused.message);
  assertEquals(refused.cause, error);
  assertThrows(() => machine.load(new Uint8Array(0)), MachineError, "it is broken");
}

/** Finds a device's section in a state. */
function sectionOf(state: Uint8Array, name: string): number {
  const bytes = new TextEncoder().encode(name);
  for (let at = 0; at < state.length; at++) {
    if (bytes.every((byte, index) => state[at + index] === byte)) return at + bytes.length + 8;
  }
  throw new Error(`No section: ${name}`);
}

function changed(state: Uint8Array, at: number, value: number): Uint8Array {
  const bytes = state.slice();
  bytes[at] = value;
  return bytes;
}

function setUp(): { state: Uint8Array; memory: TestRam; machine: () => Machine } {
  const { machine, memory } = stoppedMachine(OPTIONS);
  return { state: machine.save(), memory, machine: () => newMachine(OPTIONS, memory) };
}

const NET = "0000:00:02.0/virtio-net";

for (const transaction of TRANSACTIONS) {
  Deno.test(`Machine.load refuses a state that ends too early, wherever that is, ${transaction}`, () => {
    const { state, machine } = setUp();
    for (let length = 0; length < state.length; length += 331) {
      const other = machine();
      const load = () => other.load(state.subarray(0, length), { transaction });
      assertRefused(other, load, /^Cannot load /);
    }
  });

  Deno.test(`Machine.load refuses the state of a machine with other queues, ${transaction}`, () => {
    const { memory } = setUp();
    const options = { ...OPTIONS, netQueues: 1 };
    const { machine } = stoppedMachine(options);
    const other = newMachine(OPTIONS, memory);
    assertRefused(
      other,
      () => other.load(machine.save(), { transaction }),
      /virtio-net.*State is of another .*3 queues and 4 vectors, not 5 and 6/,
    );
  });

  Deno.test(`Machine.load refuses another device's configuration space, ${transaction}`, () => {
    const { state, machine } = setUp();
    const other = machine();
    const bytes = changed(state, sectionOf(state, NET), 0x86);
    assertRefused(
      other,
      () => other.load(bytes, { transaction }),
      /virtio-net, instance 0.*is of another device: 1a86:1041, not 1af4:1041/,
    );
  });

  Deno.test(`Machine.load refuses memory that does not go with the state, ${transaction}`, () => {
    const { state, machine } = setUp();
    const { machine: running, memory } = stoppedMachine(OPTIONS);
    const queue = running.blockDevices[1]!.queues[1]!;
    const { data, offset } = queue.cache!.available;
    data.setUint16(offset + 2, queue.lastAvailable + 1000, true);
    const other = newMachine(OPTIONS, memory);
    assertRefused(
      other,
      () => other.load(state, { transaction }),
      /Rings of 0000:00:02.3\/vhost-user-blk queue 1 are not those of its state: .*offered 1000/,
    );
    machine().load(state, { transaction });
  });

  Deno.test(`Machine.load refuses rings outside of memory, ${transaction}`, () => {
    const { machine, memory } = stoppedMachine(OPTIONS);
    const queue = machine.netDevices[1]!.queues[2]!;
    queue.used = 0xfec0_0000;
    const other = newMachine(OPTIONS, memory);
    assertRefused(
      other,
      () => other.load(machine.save(), { transaction }),
      /The used ring of 0000:00:02.1\/virtio-net queue 2 is not in memory .*0xfec00000/,
    );
  });

  Deno.test(`Machine.load refuses a request in flight outside of memory, ${transaction}`, () => {
    const { machine, memory } = stoppedMachine(OPTIONS);
    machine.blockDevices[0]!.requests[0]!.segments[0]!.address = 2 ** 45;
    const other = newMachine(OPTIONS, memory);
    assertRefused(
      other,
      () => other.load(machine.save(), { transaction }),
      /vhost-user-blk.*No RAM of \d+ bytes for .*requests in flight/,
    );
  });
}

Deno.test("Machine.load names device, field and offset of a queue's size that cannot be", () => {
  const { machine, memory } = stoppedMachine(OPTIONS);
  machine.netDevices[0]!.queues[3]!.size = 1000;
  const other = newMachine(OPTIONS, memory);
  const error = assertThrows(() => other.load(machine.save()), DeviceStateError);
  assertEquals([error.device, error.field, error.code], [NET, "queues[3]", "hook-failed"]);
});

Deno.test("Machine.load takes or refuses a state with a byte changed, and never fails otherwise", () => {
  const { state, machine } = setUp();
  for (let at = 0; at < state.length; at += 97) {
    const other = machine();
    try {
      other.load(changed(state, at, state[at]! ^ 0x55));
    } catch (error) {
      assert(error instanceof DeviceStateError || error instanceof MachineError, `${error}`);
      assertThrows(() => other.start(), MachineError, "it is broken");
      continue;
    }
    other.map.memory.flatView();
  }
});

Deno.test("Machine does nothing out of turn", () => {
  const { machine, memory } = stoppedMachine(OPTIONS);
  const other = newMachine(OPTIONS, memory);
  for (const call of [() => other.start(), () => other.save(), () => other.stop()]) {
    assertThrows(call, MachineError, "it is new");
  }
  assertThrows(() => machine.load(machine.save()), MachineError, "unless it is new: it is stopped");
  assertThrows(() => machine.boot(1), MachineError, "unless it is new");
  machine.start();
  assertThrows(() => machine.save(), MachineError, "it is running");
});
