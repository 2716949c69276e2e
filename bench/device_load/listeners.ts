/** What it costs to tell the kernel of a change to what a machine sees, and to look an address up. */

import { KvmEvents } from "../../client/memory/kvm_events.ts";
import { KvmSlots } from "../../client/memory/kvm_slots.ts";
import { UserfaultRanges } from "../../client/memory/userfault_ranges.ts";
import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { Eventfd } from "../../ffi/eventfd.ts";
import { kvmAbsence, KvmMachine } from "../../ffi/kvm.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { Userfaultfd } from "../../ffi/userfaultfd.ts";
import { AddressSpace } from "../../migration/address_space/address_space.ts";
import type { FlatRange } from "../../migration/address_space/flat_view.ts";
import { GuestTranslation } from "../../migration/address_space/guest_translation.ts";
import { MemoryCore } from "../../migration/address_space/memory_core.ts";
import { MemoryRegion } from "../../migration/address_space/memory_region.ts";
import { RamAddresses } from "../../migration/address_space/ram_addresses.ts";
import { median } from "../support/statistics.ts";

/** Bytes of a range of RAM. */
const RANGE = 0x10000;
const LOOKUPS = 100_000;

/** Nanoseconds of a listener's call, the median of all. */
export interface CallFigures {
  /** Something appears. */
  readonly add: number;
  /** It vanishes. */
  readonly remove: number;
}

/** What was measured; nanoseconds each. */
export interface ListenerFigures {
  /** Ranges of RAM, and I/O events. */
  readonly ranges: number;
  /** A guest-physical address translated to a host address, another range each time. */
  readonly lookup: number;
  /** A host address translated to a guest-physical one. */
  readonly reverseLookup: number;
  /** The table of a new view of so many ranges. */
  readonly table: number;
  /** Userfaultfd ranges. */
  readonly userfault: CallFigures;
  /** KVM memory slots; absent without KVM. */
  readonly slots?: CallFigures;
  /** KVM ioeventfds; absent without KVM. */
  readonly events?: CallFigures;
  /** Why there is no KVM. */
  readonly kvmAbsence?: string;
}

/** How much to measure. */
export interface ListenerOptions {
  /** Ranges of RAM, and I/O events; default 64. */
  readonly ranges?: number;
  /** Times that all of them appear and vanish; default 10. */
  readonly rounds?: number;
}

/**
 * Measures the listeners with real ioctls: ranges of 64 KiB of RAM appear one by one, each in a commit
 * of its own, and vanish again.
 *
 * @throws {SyscallError} when there is no userfaultfd for this user
 */
export function measureListeners(
  { ranges = 64, rounds = 10 }: ListenerOptions = {},
): ListenerFigures {
  using stack = new DisposableStack();
  // Every other range of the block, so that no two are one.
  const memory = stack.use(MappedMemory.anonymous(2 * ranges * RANGE));
  const ram = new RamAddresses([
    { name: "ram", address: memory.address, length: memory.length, fd: -1, pageSize: 4096 },
  ]);
  const core = new MemoryCore();
  const system = MemoryRegion.container(core, "system", 2 ** 40);
  const space = stack.use(new AddressSpace(core, "memory", system));
  core.transaction(() => {
    for (let index = 0; index < ranges; index++) {
      const backing = { block: "ram", offset: 2 * index * RANGE };
      system.add(MemoryRegion.ram(core, "ram", RANGE, backing), 4 * index * RANGE);
    }
  });
  const seen = space.flatView().ranges;
  const uffd = stack.use(new Userfaultfd());
  const userfault = new UserfaultRanges(uffd.fd, ram);
  const figures = {
    ranges,
    ...lookups(stack.use(new GuestTranslation(space, ram)), seen, memory.address),
    table: tableTime(space, system, ram, rounds),
    userfault: timed(
      seen,
      rounds,
      (range) => {
        userfault.regionAdd(range);
        userfault.commit();
      },
      (range) => {
        userfault.regionDel(range);
        userfault.commit();
      },
    ),
  };
  const absence = kvmAbsence();
  if (absence !== undefined) return { ...figures, kvmAbsence: absence };
  return { ...figures, ...kvmFigures(ram, seen, rounds) };
}

function kvmFigures(
  ram: RamAddresses,
  seen: readonly FlatRange[],
  rounds: number,
): { slots: CallFigures; events: CallFigures } {
  using stack = new DisposableStack();
  const machine = stack.use(new KvmMachine());
  const slots = new KvmSlots(machine, ram);
  const events = new KvmEvents(machine);
  const notifications = seen.map((_, index) => ({
    address: 2 ** 40 + 4 * index,
    size: 2,
    value: undefined,
    key: stack.use(new Eventfd()),
  }));
  return {
    slots: timed(
      seen,
      rounds,
      (range) => slots.regionAdd(range),
      (range) => slots.regionDel(range),
    ),
    events: timed(
      notifications,
      rounds,
      (event) => events.eventAdd(event),
      (event) => events.eventDel(event),
    ),
  };
}

function timed<T>(
  items: readonly T[],
  rounds: number,
  add: (item: T) => void,
  remove: (item: T) => void,
): CallFigures {
  const added: number[] = [];
  const removed: number[] = [];
  for (let round = 0; round < rounds; round++) {
    for (const [call, times] of [[add, added], [remove, removed]] as const) {
      for (const item of items) {
        const start = monotonicNanoseconds();
        call(item);
        times.push(monotonicNanoseconds() - start);
      }
    }
  }
  return { add: median(added), remove: median(removed) };
}

function lookups(
  translation: GuestTranslation,
  seen: readonly FlatRange[],
  hostAddress: number,
): { lookup: number; reverseLookup: number } {
  const guests = seen.map(({ start }) => start + 8);
  const hosts = seen.map((_, index) => hostAddress + 2 * index * RANGE + 8);
  return {
    lookup: perLookup(guests, (address) => translation.hostAddress(address)),
    reverseLookup: perLookup(hosts, (address) => translation.guestAddress(address)),
  };
}

function perLookup(addresses: readonly number[], look: (address: number) => number): number {
  let found = 0;
  const pass = () => {
    for (let index = 0, at = 0; index < LOOKUPS; index++) {
      if (look(addresses[at]!) >= 0) found++;
      at = at + 1 === addresses.length ? 0 : at + 1;
    }
  };
  pass(); // compiles it
  const start = monotonicNanoseconds();
  pass();
  const time = monotonicNanoseconds() - start;
  if (found !== 2 * LOOKUPS) throw new Error(`Lookups that found RAM: ${found}`);
  return time / LOOKUPS;
}

function tableTime(
  space: AddressSpace,
  system: MemoryRegion,
  ram: RamAddresses,
  rounds: number,
): number {
  const device = MemoryRegion.io(system.core, "device", 4096);
  system.add(device, 2 ** 39);
  const times: number[] = [];
  for (let round = 0; round < 10 * rounds; round++) {
    device.enabled = !device.enabled;
    const view = space.flatView();
    const start = monotonicNanoseconds();
    ram.tableOf(view);
    times.push(monotonicNanoseconds() - start);
  }
  system.remove(device);
  return median(times);
}
