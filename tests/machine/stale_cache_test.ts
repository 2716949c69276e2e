/** The check that no queue runs with a ring cache that is missing, or not true any more. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import type { Machine } from "../../workload/machine/machine.ts";
import { MachineError } from "../../workload/machine/machine_error.ts";
import { MemoryRegion } from "../../migration/address_space/memory_region.ts";
import { newMachine, PUBLISHED, stoppedMachine } from "./machines.ts";

const OPTIONS = PUBLISHED[2]!;
const NET = "0000:00:02.0/virtio-net";

function loaded(): Machine {
  const { machine, memory } = stoppedMachine(OPTIONS);
  const other = newMachine(OPTIONS, memory);
  other.load(machine.save());
  return other;
}

function assertStale(machine: Machine, message: RegExp): void {
  const error = assertThrows(() => machine.start(), MachineError, undefined);
  assertEquals(error.code, "STALE_CACHE");
  assert(message.test(error.message), error.message);
  assertEquals(machine.status, "stopped");
  assertEquals(machine.map.memory.flatView().events, []); // none was started
}

Deno.test("Machine.load puts ring caches off until the transaction has ended", () => {
  const { machine, memory } = stoppedMachine({ ...OPTIONS, busyBlockDevices: 0 });
  const other = newMachine({ ...OPTIONS, busyBlockDevices: 0 }, memory);
  const [net] = other.netDevices;
  other.devices.load(machine.save(), {
    around: (load) =>
      other.memory.transaction(() => {
        load();
        assert(net!.putOff);
        assert(net!.queues.every(({ cache }) => cache === undefined));
      }),
  });
  assert(net!.queues.every(({ cache }) => cache !== undefined), "built by the commit");
  assert(net!.putOff);
  other.finishLoad();
  assert(!net!.putOff);
  other.start();
});

Deno.test("Machine.load per change has ring caches as soon as a device is loaded", () => {
  const { machine, memory } = stoppedMachine(OPTIONS);
  const other = newMachine(OPTIONS, memory);
  const seen: [string, boolean][] = [];
  other.devices.load(machine.save(), {
    onDevice: (name) => {
      const device = other.virtioDevices.find((each) => each.name === name);
      if (device === undefined) return;
      seen.push([name, device.queues.every(({ cache }) => cache !== undefined)]);
    },
  });
  assertEquals(seen, [[NET, true], ["0000:00:02.1/vhost-user-blk", true]]);
});

Deno.test("Machine.start names the device and the queue whose rings were not looked up", () => {
  const machine = loaded();
  machine.netDevices[0]!.queues[7]!.dropCache();
  assertStale(machine, new RegExp(`${NET} cannot run queue 7: .*was not looked up`));
});

Deno.test("Machine.start names the device and the queue whose rings are elsewhere now", () => {
  const machine = loaded();
  const [block] = machine.blockDevices;
  block!.queues[2]!.available += 4096;
  assertStale(machine, /vhost-user-blk cannot run queue 2: .*is not true any more/);
});

Deno.test("Machine.start finds a cache that a deferral forgotten has left behind", () => {
  const { machine, memory } = stoppedMachine(OPTIONS);
  const broken = newMachine(OPTIONS, memory);
  // A device that neither listens to memory, nor does what it has put off.
  const [net] = broken.netDevices;
  net!.commit = () => {};
  net!.finishLoad = () => {};
  broken.load(machine.save());
  assertStale(broken, new RegExp(`${NET} cannot run queue 0: .*was not looked up`));
});

Deno.test("Machine.start finds a cache built from the view inside of a transaction", () => {
  const { machine, memory } = stoppedMachine(OPTIONS);
  const broken = newMachine({ ...OPTIONS, debug: false }, memory);
  const { memory: core, map } = broken;
  const [net] = broken.netDevices;
  net!.finishLoad = () => {};
  // What lies at the rings is other memory until the end of the transaction.
  const other = MemoryRegion.ram(core, "other", 2 ** 22, { block: "vga.vram" });
  map.system.add(other, 2 ** 20, 5);
  core.transaction(() => {
    broken.devices.load(machine.save());
    const view = net!.pci.busMaster.flatView();
    for (const queue of net!.queues) queue.buildCache(view, broken.ram);
    net!.commit = () => {};
    map.system.remove(other);
  });
  broken.finishLoad();
  assertStale(broken, new RegExp(`${NET} cannot run queue 0: .*is not true any more`));
});

Deno.test("Machine.start accepts caches built before a change that has left the rings alone", () => {
  const machine = loaded();
  const { queues } = machine.netDevices[0]!;
  const builds = queues.map((queue) => queue.builds);
  const device = machine.netDevices[0]!;
  device.commit = () => {};
  machine.map.system.add(MemoryRegion.io(machine.memory, "new", 4096), 2 ** 40);
  machine.start();
  assertEquals(queues.map((queue) => queue.builds), builds);
});

Deno.test("A device whose memory vanishes drops its caches, and does not start", () => {
  const machine = loaded();
  const { pci, queues } = machine.netDevices[0]!;
  pci.writeConfig(4, pci.registers.command & ~4, 2); // no bus master
  assert(queues.every(({ cache }) => cache === undefined));
  assertStale(machine, new RegExp(`${NET} cannot run queue 0`));
  pci.writeConfig(4, pci.registers.command | 4, 2);
  machine.start();
});
