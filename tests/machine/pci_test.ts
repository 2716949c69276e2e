/** BARs, the command register, and what they do to the memory map. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import type { AddressSpace } from "../../migration/address_space/address_space.ts";
import type { Machine } from "../../workload/machine/machine.ts";
import { MachineError } from "../../workload/machine/machine_error.ts";
import { COMMAND } from "../../workload/machine/pci_config.ts";
import { PUBLISHED, stoppedMachine } from "./machines.ts";

function names(space: AddressSpace): string[] {
  return space.flatView().ranges.map(({ region }) => region.name);
}

function seenOf(machine: Machine, device: string): string[] {
  const { map: { memory, io } } = machine;
  return [...names(io), ...names(memory)].filter((name) => name.startsWith(`${device} `))
    .map((name) => name.slice(device.length + 1));
}

function device(): { machine: Machine; name: string; set: (command: number) => void } {
  const { machine } = stoppedMachine(PUBLISHED[2]!);
  const { pci, name } = machine.netDevices[0]!;
  return { machine, name, set: (command) => pci.writeConfig(4, command, 2) };
}

const MEMORY_PARTS = [
  "msix-table",
  "msix-pba",
  ...["common", "isr", "device", "notify"],
];

Deno.test("The command register maps and unmaps ports and memory, each by its bit", () => {
  const { machine, name, set } = device();
  assertEquals(seenOf(machine, name), ["legacy", ...MEMORY_PARTS]);
  set(COMMAND.MEMORY);
  assertEquals(seenOf(machine, name), MEMORY_PARTS);
  set(COMMAND.IO);
  assertEquals(seenOf(machine, name), ["legacy"]);
  set(0);
  assertEquals(seenOf(machine, name), []);
  set(COMMAND.IO | COMMAND.MEMORY);
  assertEquals(seenOf(machine, name), ["legacy", ...MEMORY_PARTS]);
});

Deno.test("The bus master bit shows all memory to the device, or nothing", () => {
  const { machine, set } = device();
  const { busMaster } = machine.netDevices[0]!.pci;
  assertEquals(busMaster.flatView().ranges, machine.map.memory.flatView().ranges);
  set(COMMAND.IO | COMMAND.MEMORY);
  assertEquals(busMaster.flatView().ranges, []);
});

Deno.test("Writing a BAR moves its region; other bits of it stay", () => {
  const { machine, name } = device();
  const { pci } = machine.netDevices[0]!;
  const bar = pci.bars[1]!;
  pci.writeConfig(0x14, 0xd000_0fff, 4);
  assertEquals(pci.registers.u32(0x14), 0xd000_0000);
  const [range] = machine.map.memory.flatView().ranges
    .filter(({ region }) => region.name === `${name} msix-table`);
  assertEquals(range!.start, 0xd000_0000);
  assertEquals(bar.region.address, 0xd000_0000);
  pci.writeConfig(0x14, 0, 4);
  assertEquals(bar.region.parent, undefined);
});

Deno.test("A BAR whose address lies outside of the bus is not seen", () => {
  const { machine, name } = device();
  const { pci } = machine.netDevices[0]!;
  pci.writeConfig(0x24, 0xffff_ffff, 4); // upper half of the BAR of 64 bits
  assertEquals(seenOf(machine, name), ["legacy", "msix-table", "msix-pba"]);
  pci.writeConfig(0x10, 0x1_fff0, 4); // ports end at 64 KiB
  assertEquals(seenOf(machine, name), ["msix-table", "msix-pba"]);
});

Deno.test("Each write that maps something is one commit for each BAR, and none without effect", () => {
  const { machine, set } = device();
  const { statistics } = machine.memory;
  machine.memory.resetStatistics();
  set(COMMAND.IO | COMMAND.MEMORY | COMMAND.BUS_MASTER);
  assertEquals(statistics.commits, 0);
  set(0);
  assertEquals(statistics.commits, 4);
});

Deno.test("A machine's map is a q35's: low RAM, windows below 1 MiB, the PCI hole, high RAM, ROM", () => {
  const MIB = 2 ** 20;
  const options = { ...PUBLISHED[2], ramBytes: 64 * MIB, maxRamBelow4G: 32 * MIB };
  const { machine } = stoppedMachine(options);
  const view = machine.map.memory.flatView();
  const at = (address: number) => {
    const { region, offset, start } = view.find(address)!;
    return [region.name, offset + address - start];
  };
  assertEquals(at(0), ["pc.ram", 0]);
  assertEquals(at(0xa_0000), ["vga.vram", 0]); // chained planes
  assertEquals(at(0xb_0000), ["vga-lowmem", 0x1_0000]);
  assertEquals(at(0xc_b000), ["pc.ram", 0xc_b000]); // of the ROM for task priorities
  assertEquals(at(0xe_0000), ["pc.ram", 0xe_0000]); // a copy of the BIOS
  assertEquals(at(32 * MIB - 1), ["pc.ram", 32 * MIB - 1]);
  assertEquals(view.find(32 * MIB), undefined);
  assertEquals(at(0xb000_0000), ["pcie-mmcfg-mmio", 0]);
  assertEquals(at(0xfec0_0000), ["ioapic", 0]);
  assertEquals(at(0xfed0_0000), ["hpet", 0]);
  assertEquals(at(0xfee0_0000), ["apic-msi", 0]);
  assertEquals(at(2 ** 32 - 1), ["pc.bios", 256 * 1024 - 1]);
  assertEquals(at(2 ** 32), ["pc.ram", 32 * MIB]);
  assertEquals(machine.map.smram.flatView().find(0xa_0000)!.region.name, "pc.ram");
});

Deno.test("A machine that runs has two events for each queue, and none when it is stopped", () => {
  const { machine } = stoppedMachine(PUBLISHED[2]!);
  const { memory, io } = machine.map;
  const [net] = machine.netDevices;
  const count = net!.queues.length + machine.blockDevices[0]!.queues.length;
  assertEquals(memory.flatView().events.length + io.flatView().events.length, 0);
  machine.start();
  assertEquals(memory.flatView().events.length, count);
  assertEquals(io.flatView().events.length, count);
  const modern = net!.pci.bars[2]!.region.address;
  const ports = net!.pci.bars[0]!.region.address;
  for (const queue of net!.queues) {
    const own = memory.flatView().events.find(({ key }) => key === queue)!;
    assertEquals([own.address, own.value], [modern + 0x3000 + 4 * queue.index, undefined]);
    const legacy = io.flatView().events.find(({ key }) => key === queue)!;
    assertEquals([legacy.address, legacy.value], [ports + 16, queue.index]);
  }
  machine.stop();
  assertEquals(memory.flatView().events.length + io.flatView().events.length, 0);
});

Deno.test("Machine refuses settings that cannot be, and memory that is not its own", () => {
  const cases = [
    [{ netDevices: 200, blockDevices: 33 }, /blockDevices of: 33/],
    [{ queueSize: 100 }, /queueSize of: 100: use a power of two/],
    [{ ramBytes: 2 ** 21 }, /ramBytes of: 2097152: use at least \d+, for the rings of 4 queues/],
    [{ ramBytes: 2 ** 26 + 4096 }, /multiple of 2 MiB/],
    [{ maxRamBelow4G: 2 ** 32 }, /at most 2 GiB/],
    [{ busyBlockDevices: 2 }, /busyBlockDevices of: 2/],
  ] as const;
  for (const [options, message] of cases) {
    const error = assertThrows(() => stoppedMachine(options), MachineError, undefined);
    assertEquals(error.code, "BAD_OPTIONS");
    assert(message.test(error.message), error.message);
  }
  const { machine } = stoppedMachine({});
  const error = assertThrows(() => machine.attach([]), MachineError);
  assertEquals(error.code, "WRONG_MEMORY");
});
