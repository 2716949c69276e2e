/** Devices of processors and interrupts that look at guest memory while they are loaded. */

import {
  array,
  bytes,
  type Description,
  description,
  safeU64,
  u32,
  u64,
} from "../../migration/device/mod.ts";
import { MemoryRegion } from "../../migration/address_space/memory_region.ts";
import type { GuestRam } from "./guest_ram.ts";
import type { Q35Memory } from "./q35_memory.ts";
import type { ViewReader } from "./view_reader.ts";

/** What these devices look at. */
export interface InterruptSurroundings {
  /** The machine's memory. */
  readonly map: Q35Memory;
  /** Through which flat views are read. */
  readonly reader: ViewReader;
  /** Returns the machine's RAM, once that is there. */
  readonly ram: () => GuestRam;
}

const APIC_BYTES = 1024;
const PAGE = 4096;
/** Interrupt inputs of an I/O APIC. */
export const INPUTS = 24;
/** Bytes of an entry of the interrupt remapping table (Intel VT-d 3.3, 9.9). */
export const REMAP_BYTES = 16;

/** A processor's interrupt controller. */
export class LocalApic {
  readonly #surroundings: InterruptSurroundings;
  /** Its processor. */
  readonly processor: number;
  /** Its registers. */
  readonly registers: Uint8Array = new Uint8Array(APIC_BYTES);
  /** Guest address of the page that holds its task priority; 0 for none. */
  priorityPage = 0;

  /** @param surroundings what it looks at */
  constructor(surroundings: InterruptSurroundings, processor: number) {
    this.#surroundings = surroundings;
    this.processor = processor;
  }

  /**
   * Looks its task priority's page up. These devices come first in the stream: nothing is pending then.
   */
  loaded(): void {
    if (this.priorityPage === 0) return;
    const { map, reader, ram } = this.#surroundings;
    const who = `apic ${this.processor}: looks up the page of its task priority`;
    ram().at(reader.read(map.memory, who), this.priorityPage, 4, who);
  }
}

/** The state of a local APIC. */
export const LOCAL_APIC: Description<LocalApic> = description({
  name: "apic",
  version: 3,
  fields: { registers: bytes(APIC_BYTES), priorityPage: safeU64 },
  postLoad: (state: LocalApic) => state.loaded(),
});

/** The option ROM that takes task priorities over from Windows guests. */
export class PriorityRom {
  readonly #surroundings: InterruptSurroundings;
  /** Guest address of the ROM's page; 0 when it is not in use. */
  page = 0;
  #shown: MemoryRegion | undefined;

  /** @param surroundings what it looks at */
  constructor(surroundings: InterruptSurroundings) {
    this.#surroundings = surroundings;
  }

  /**
   * Shows RAM at its page, where the ROM is seen otherwise, to make it writable: a region on top of all
   * others. As in QEMU's `vapic_map_rom_writable`, RAM is what is found at address 0.
   */
  loaded(): void {
    const { map: { memory, system }, reader } = this.#surroundings;
    if (this.#shown !== undefined) system.remove(this.#shown);
    this.#shown = undefined;
    if (this.page === 0) return;
    const who = "kvm-tpr-opt: looks up the RAM behind its ROM";
    const range = reader.read(memory, who).find(0, who);
    if (range?.region.block === undefined) return;
    const { region } = range;
    this.#shown = MemoryRegion.alias(memory.core, "kvm-tpr-opt rom", region, this.page, PAGE);
    system.add(this.#shown, this.page, 1000);
  }
}

/** The state of that ROM. */
export const PRIORITY_ROM: Description<PriorityRom> = description({
  name: "kvm-tpr-opt",
  version: 1,
  fields: { page: safeU64 },
  postLoad: (state: PriorityRom) => state.loaded(),
});

/** The I/O APIC, with interrupts remapped by a table in guest memory. */
export class IoApic {
  readonly #surroundings: InterruptSurroundings;
  /** Register that the guest has selected. */
  select = 0;
  /** Redirection entries. */
  readonly entries: BigUint64Array = new BigUint64Array(INPUTS);
  /** Guest address of the interrupt remapping table; 0 for none. */
  remapTable = 0;
  /** What the kernel is told for each input. */
  routes: readonly bigint[] = [];

  /** @param surroundings what it looks at */
  constructor(surroundings: InterruptSurroundings) {
    this.#surroundings = surroundings;
  }

  /**
   * Tells the kernel where interrupts go. With a remapping IOMMU that is read from guest memory (QEMU's
   * `kvm_arch_fixup_msi_route` and `vtd_irte_get`), which takes the view as it is now.
   */
  loaded(): void {
    this.routes = [...this.entries];
    if (this.remapTable === 0) return;
    const { map, reader, ram } = this.#surroundings;
    const who = "ioapic: reads the interrupt remapping table";
    const view = reader.read(map.memory, who);
    const { data, offset } = ram().at(view, this.remapTable, INPUTS * REMAP_BYTES, who);
    this.routes = this.routes.map((_, input) =>
      data.getBigUint64(offset + input * REMAP_BYTES, true)
    );
  }
}

/** The state of the I/O APIC. */
export const IO_APIC: Description<IoApic> = description({
  name: "ioapic",
  version: 3,
  fields: { select: u32, entries: array(u64, INPUTS), remapTable: safeU64 },
  postLoad: (state: IoApic) => state.loaded(),
});
