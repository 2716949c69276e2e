/** All that two machines must have in common when one was loaded with the state of the other. */

import type { AddressSpace } from "../../migration/address_space/address_space.ts";
import type { RamSlice } from "./guest_ram.ts";
import type { Machine } from "./machine.ts";
import { type RingContents, walkRing } from "./ring_walk.ts";
import type { VhostRegion } from "./vhost_backend.ts";
import type { VirtioDevice } from "./virtio_device.ts";

/** A range of a flat view: start, length, region and offset in it. */
export type RangeText = string;

/** What is seen in an address space. */
export interface SpaceSnapshot {
  readonly ranges: readonly RangeText[];
  /** Address, size, value and name of the queue. */
  readonly events: readonly string[];
}

/** A queue with what lies in its rings. */
export interface QueueSnapshot {
  readonly registers: Readonly<Record<string, number | boolean>>;
  /** Where its rings lie; the same blocks and offsets at both ends. */
  readonly rings?: Readonly<Record<string, string>>;
  readonly contents?: RingContents;
}

/** A virtio device. */
export interface DeviceSnapshot {
  readonly registers: Readonly<Record<string, string>>;
  readonly queues: readonly QueueSnapshot[];
  /** Memory tables of its backends. */
  readonly tables: readonly (readonly VhostRegion[])[];
  /** Where the buffers of requests in flight lie. */
  readonly requests: readonly string[];
}

/** A machine, as plain data: two are equal when their JSON is. */
export interface MachineSnapshot {
  /** Configuration spaces by function, hexadecimal. */
  readonly config: Readonly<Record<string, string>>;
  /** Registers of the platform, hexadecimal. */
  readonly platform: Readonly<Record<string, string>>;
  readonly spaces: Readonly<Record<string, SpaceSnapshot>>;
  /** What each function sees of memory: the name of the space that is the same, or its ranges. */
  readonly busMasters: Readonly<Record<string, string | SpaceSnapshot>>;
  readonly devices: Readonly<Record<string, DeviceSnapshot>>;
}

/**
 * Takes a snapshot; reads rings through the queues' caches, and touches guest memory.
 *
 * @throws {MachineError} for rings that cannot be followed
 */
export function snapshot(machine: Machine): MachineSnapshot {
  const { map, bus, platform, virtioDevices } = machine;
  const { apics, priorityRom, ioApic, vga, plain } = platform;
  const spaces = [map.memory, map.io, map.smram];
  const memory = spaceText(map.memory);
  const memoryText = JSON.stringify(memory);
  return {
    config: record(bus.functions, ({ name }) => name, ({ config }) => config.toHex()),
    platform: {
      ...record(
        plain,
        ({ name, instance }) => `${name} ${instance}`,
        (each) => each.registers.toHex(),
      ),
      ...record(
        apics,
        ({ processor }) => `apic ${processor}`,
        ({ registers, priorityPage }) => `${registers.toHex()} ${priorityPage}`,
      ),
      rom: `${priorityRom.page}`,
      ioapic: [ioApic.select, ...ioApic.entries, ioApic.remapTable, ...ioApic.routes].join(" "),
      vga: `${vga.registers.toHex()} ${vga.chained}`,
    },
    spaces: record(spaces, ({ name }) => name, spaceText),
    busMasters: record(bus.functions, ({ name }) => name, ({ busMaster }) => {
      const space = spaceText(busMaster);
      return JSON.stringify(space) === memoryText ? map.memory.name : space;
    }),
    devices: record(virtioDevices, ({ name }) => name, (device) => deviceText(machine, device)),
  };
}

/**
 * Compares two machines.
 *
 * @returns a line for each thing that is different, at most `most`
 */
export function differences(
  one: MachineSnapshot,
  other: MachineSnapshot,
  most = 10,
): string[] {
  const found: string[] = [];
  compare("machine", one, other, found, most);
  return found;
}

function compare(
  path: string,
  one: unknown,
  other: unknown,
  found: string[],
  most: number,
): void {
  if (found.length >= most || one === other) return;
  const both = typeof one === "object" && typeof other === "object" && one !== null &&
    other !== null;
  if (!both) {
    found.push(`${path}: ${one} and ${other}`);
    return;
  }
  for (const key of new Set([...Object.keys(one), ...Object.keys(other)])) {
    const [a, b] = [one, other].map((each) => (each as Record<string, unknown>)[key]);
    compare(`${path}.${key}`, a, b, found, most);
  }
}

function record<T, V>(
  items: readonly T[],
  key: (item: T) => string,
  value: (item: T) => V,
): Record<string, V> {
  return Object.fromEntries(items.map((item) => [key(item), value(item)]));
}

function spaceText(space: AddressSpace): SpaceSnapshot {
  const { ranges, events } = space.flatView();
  return {
    ranges: ranges.map(({ start, length, region, offset }) =>
      `${hex(start)} ${hex(length)} ${region.kind} ${region.name} ${hex(offset)}`
    ),
    events: events.map(({ address, size, value, key }) =>
      `${hex(address)} ${size} ${value ?? "any"} ${(key as { name?: string }).name}`
    ),
  };
}

function deviceText(machine: Machine, device: VirtioDevice): DeviceSnapshot {
  const { status, isr, features, queueSelect, vectorTable, pendingVectors, configuration } = device;
  const own = Object.entries(device).flatMap(([name, value]): [string, string][] => {
    if (typeof value === "number") return [[name, `${value}`]];
    return value instanceof Uint8Array ? [[name, value.toHex()]] : [];
  });
  const ram = machine.ram;
  const view = device.pci.busMaster.flatView();
  return {
    registers: {
      ...Object.fromEntries(own),
      common: [status, isr, features, queueSelect].join(" "),
      bytes: [vectorTable, pendingVectors, configuration].map((each) => each.toHex()).join(" "),
    },
    queues: device.queues.map((queue) => {
      const { size, vector, enabled, descriptors, available, used } = queue;
      const { lastAvailable, inUse, cache } = queue;
      const where = { size, vector, enabled, descriptors, available, used };
      const registers = { ...where, lastAvailable, inUse };
      if (cache === undefined) return { registers };
      const rings = {
        descriptors: sliceText(cache.descriptors),
        available: sliceText(cache.available),
        used: sliceText(cache.used),
      };
      return { registers, rings, contents: walkRing(queue, view, ram) };
    }),
    tables: device.backends.map(({ table }) => table),
    requests: requestTexts(machine, device),
  };
}

/** Where buffers of requests in flight lie: looked up now, as only a machine that was loaded maps them. */
function requestTexts(machine: Machine, device: VirtioDevice): string[] {
  const block = machine.blockDevices.find((each) => each === device);
  const view = device.pci.busMaster.flatView();
  return (block?.requests ?? []).flatMap(({ queue, head, segments }) =>
    segments.map(({ address, length, writable }) => {
      const slice = machine.ram.at(view, address, length, device.name);
      return `${queue} ${head} ${hex(address)} ${length} ${writable} ${sliceText(slice)}`;
    })
  );
}

function sliceText({ block, offset }: RamSlice): string {
  return `${block} ${hex(offset)}`;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
