/** What firmware and drivers do when a machine boots. */

import { RandomNumbers } from "../page_order.ts";
import type { BlockDevice } from "./block_device.ts";
import { CHIPSET } from "./chipset.ts";
import { INPUTS, REMAP_BYTES } from "./interrupts.ts";
import { PAM_REGISTERS } from "./legacy_windows.ts";
import type { Machine } from "./machine.ts";
import { alignUp, RINGS_START } from "./options.ts";
import { type BarKind, COMMAND } from "./pci_config.ts";
import type { PciFunction } from "./pci_function.ts";
import { BAR_WINDOWS } from "./q35_memory.ts";
import { RingDriver, RingMemory } from "./ring_driver.ts";
import { readChain } from "./ring_walk.ts";
import { DRIVER_OK, type VirtioDevice } from "./virtio_device.ts";

/** Pages of low memory that the guest uses for one thing each. */
const PAGES = { PRIORITIES: 0x8000, REMAP_TABLE: 0x9000, PRIORITY_ROM: 0xc_b000 } as const;
/** Bits of the PCI express and power management registers. */
const CONFIG_WINDOW = 0xb000_0001;
const PM_PORTS = 0x600;
const ACPI_ENABLE = 0x80;
const ROOT_COMPLEX = 0xfed1_c001;
/** Windows that show RAM for reading and writing, both of a register. */
const PAM_RAM = 0x33;
/** VIRTIO_F_VERSION_1 and VIRTIO_F_RING_INDIRECT_DESC, and some that a network device has. */
const FEATURES = (1n << 32n) | (1n << 28n) | 0x8003n;
/** A status with which the driver has accepted all. */
const DRIVER_STATUS = 0x0b | DRIVER_OK;

/**
 * Boots a machine: maps BARs, sets queues up, and writes rings into its memory.
 *
 * @param machine a new one, with its memory attached
 * @param seed what the guest's choices are made from
 */
export function boot(machine: Machine, seed: number): void {
  const random = new RandomNumbers(seed);
  const { memory, map, bus, virtioDevices, blockDevices, settings } = machine;
  memory.transaction(() => {
    setUpChipset(machine, random);
    assignBars(bus.functions, map.highWindow);
  });
  setUpInterrupts(machine, random);
  const rings = new RingMemory(map.ramRanges(RINGS_START), random);
  const driver = new RingDriver(map.memory, machine.ram, rings);
  for (const device of virtioDevices) {
    setUpDevice(device, random);
    for (const queue of device.queues) driver.setUp(queue);
    device.commit();
  }
  for (const device of virtioDevices) {
    for (const queue of device.queues) queue.checkRings();
  }
  for (const device of blockDevices.slice(0, settings.busyBlockDevices)) {
    takeRequest(machine, device, random);
  }
}

function fill(bytes: Uint8Array, random: RandomNumbers): void {
  for (let i = 0; i < bytes.length; i++) bytes[i] = random.below(256);
}

function setUpChipset({ platform }: Machine, random: RandomNumbers): void {
  const { controller, lpc, vga, plain, apics } = platform;
  const { registers } = controller.pci;
  registers.write(CHIPSET.CONFIG_WINDOW, CONFIG_WINDOW, 4);
  // The option ROMs and the BIOS have been copied to RAM.
  for (let i = 0; i < PAM_REGISTERS; i++) registers.write(CHIPSET.PAM + i, PAM_RAM, 1);
  controller.update();
  lpc.pci.registers.write(CHIPSET.PM_BASE, PM_PORTS, 4);
  lpc.pci.registers.write(CHIPSET.ACPI_CONTROL, ACPI_ENABLE, 4);
  lpc.pci.registers.write(CHIPSET.ROOT_COMPLEX, ROOT_COMPLEX, 4);
  lpc.update();
  vga.chained = 1;
  vga.update();
  for (const { registers } of [vga, ...plain, ...apics]) fill(registers, random);
}

/** Gives each BAR the next place in its window, and lets functions answer and be bus masters. */
function assignBars(functions: readonly PciFunction[], highWindow: number): void {
  const next: Record<BarKind, number> = {
    io: BAR_WINDOWS.PORTS,
    memory: BAR_WINDOWS.MEMORY,
    memory64: highWindow,
  };
  for (const each of functions) {
    for (const bar of each.bars) {
      const address = alignUp(next[bar.kind], bar.size);
      next[bar.kind] = address + bar.size;
      each.registers.writeBar(bar, address);
    }
    each.writeConfig(4, COMMAND.IO | COMMAND.MEMORY | COMMAND.BUS_MASTER, 2);
  }
}

function setUpInterrupts({ platform, map, ram }: Machine, random: RandomNumbers): void {
  const { apics, priorityRom, ioApic } = platform;
  for (const apic of apics) apic.priorityPage = PAGES.PRIORITIES + 128 * (apic.processor & 31);
  priorityRom.page = PAGES.PRIORITY_ROM;
  priorityRom.loaded();
  const view = map.memory.flatView();
  const { data, offset } = ram.at(view, PAGES.REMAP_TABLE, INPUTS * REMAP_BYTES, "firmware");
  for (let input = 0; input < INPUTS; input++) {
    ioApic.entries[input] = BigInt(random.below(2 ** 32));
    const at = offset + input * REMAP_BYTES;
    data.setBigUint64(at, BigInt(random.below(2 ** 32)), true);
  }
  ioApic.remapTable = PAGES.REMAP_TABLE;
  ioApic.loaded();
}

function setUpDevice(device: VirtioDevice, random: RandomNumbers): void {
  device.status = DRIVER_STATUS;
  device.features = FEATURES;
  fill(device.vectorTable, random);
  fill(device.configuration, random);
  device.queues.forEach((queue, index) => queue.vector = index + 1);
}

/** Lets a device take a request that it will not have done with when it is stopped. */
function takeRequest(machine: Machine, device: BlockDevice, random: RandomNumbers): void {
  const queue = device.queues[random.below(device.queues.length)]!;
  const head = queue.take();
  if (head === undefined) return;
  const buffers = readChain(queue, head, machine.map.memory.flatView(), machine.ram);
  const segments = buffers.map(({ address, length, writable }) => ({ address, length, writable }));
  device.requests = [{ queue: queue.index, head, segmentCount: segments.length, segments }];
  device.requestCount = 1;
}
