/** The memory map of a q35 machine, as its firmware finds it. */

import { AddressSpace } from "../../migration/address_space/address_space.ts";
import type { MemoryCore } from "../../migration/address_space/memory_core.ts";
import { MemoryRegion } from "../../migration/address_space/memory_region.ts";
import { LegacyWindows } from "./legacy_windows.ts";
import { alignUp, BIOS_BYTES, type MachineSettings, ROM_BYTES, VGA_BYTES } from "./options.ts";

const KIB = 2 ** 10;
const GIB = 2 ** 30;
const FOUR_GIB = 2 ** 32;
/** Physical addresses of a processor. */
const MEMORY_BYTES = 2 ** 52;
const PORT_BYTES = 2 ** 16;

/** Where firmware puts BARs. */
export const BAR_WINDOWS = {
  PORTS: 0xc000,
  MEMORY: 0xc000_0000,
  /** BARs of 64 bits lie above the RAM; see {@linkcode Q35Memory.highWindow}. */
  HIGH: 2 ** 35,
} as const;

/** Interrupt controllers and the timer, always there. */
const PLATFORM: readonly (readonly [name: string, address: number, size: number])[] = [
  ["ioapic", 0xfec0_0000, 4 * KIB],
  ["hpet", 0xfed0_0000, KIB],
  ["apic-msi", 0xfee0_0000, 1024 * KIB],
];

/** The ports of old, always there. */
const LEGACY_PORTS: readonly (readonly [name: string, port: number, size: number])[] = [
  ["dma-chan", 0x00, 8],
  ["dma-cont", 0x08, 8],
  ["pic", 0x20, 2],
  ["pit", 0x40, 4],
  ["i8042-data", 0x60, 1],
  ["pcspk", 0x61, 1],
  ["i8042-cmd", 0x64, 1],
  ["rtc", 0x70, 2],
  ["kvmvapic", 0x7e, 2],
  ["dma-page", 0x80, 16],
  ["port92", 0x92, 1],
  ["pic-slave", 0xa0, 2],
  ["apm", 0xb2, 2],
  ["dma1-chan", 0xc0, 16],
  ["dma1-cont", 0xd0, 16],
  ["vga-ports", 0x3b0, 48],
  ["serial", 0x3f8, 8],
  ["elcr", 0x4d0, 2],
  ["fwcfg", 0x510, 12],
  ["pci-conf-idx", 0xcf8, 4],
  ["pci-conf-data", 0xcfc, 4],
];

/** Regions and address spaces of a q35 machine. */
export class Q35Memory {
  /** All memory. */
  readonly system: MemoryRegion;
  /** All ports. */
  readonly ports: MemoryRegion;
  /** Below everything else in memory: what the PCI bus answers to. */
  readonly pci: MemoryRegion;
  /** What processors see. */
  readonly memory: AddressSpace;
  /** What processors reach by I/O instructions. */
  readonly io: AddressSpace;
  /** What processors see in system management mode. */
  readonly smram: AddressSpace;
  /** The windows of the chipset on what lies below 1 MiB. */
  readonly legacy: LegacyWindows;
  /** The VGA's memory, which its BAR shows. */
  readonly vgaMemory: MemoryRegion;
  /** Configuration spaces in memory; the chipset maps it. */
  readonly configWindow: MemoryRegion;
  /** Bytes of RAM below 4 GiB. */
  readonly lowRam: number;
  /** Bytes of RAM from 4 GiB on. */
  readonly highRam: number;

  /**
   * Builds it.
   *
   * @param core the machine's memory
   * @param settings how much RAM there is, and where
   */
  constructor(core: MemoryCore, settings: MachineSettings) {
    const { ramBytes, maxRamBelow4G } = settings;
    this.lowRam = Math.min(ramBytes, maxRamBelow4G);
    this.highRam = ramBytes - this.lowRam;
    const system = MemoryRegion.container(core, "system", MEMORY_BYTES);
    this.system = system;
    this.ports = MemoryRegion.container(core, "io", PORT_BYTES);
    this.pci = MemoryRegion.container(core, "pci", MEMORY_BYTES);
    const ram = MemoryRegion.ram(core, "pc.ram", ramBytes, { block: "pc.ram" });
    system.add(MemoryRegion.alias(core, "ram-below-4g", ram, 0, this.lowRam), 0);
    if (this.highRam > 0) {
      const above = MemoryRegion.alias(core, "ram-above-4g", ram, this.lowRam, this.highRam);
      system.add(above, FOUR_GIB);
    }
    system.add(this.pci, 0, -1);
    this.#addRoms(core);
    for (const [name, address, size] of PLATFORM) {
      system.add(MemoryRegion.io(core, name, size), address, name === "apic-msi" ? 4096 : 0);
    }
    for (const [name, port, size] of LEGACY_PORTS) {
      this.ports.add(MemoryRegion.io(core, name, size), port);
    }
    this.vgaMemory = MemoryRegion.ram(core, "vga.vram", VGA_BYTES, { block: "vga.vram" });
    this.configWindow = MemoryRegion.io(core, "pcie-mmcfg-mmio", 256 * KIB * KIB);
    this.legacy = new LegacyWindows(core, { system, pci: this.pci, ram });
    this.memory = new AddressSpace(core, "memory", system);
    this.io = new AddressSpace(core, "I/O", this.ports);
    this.smram = new AddressSpace(core, "KVM-SMRAM", this.#smramRoot(core, ram));
  }

  /** Where firmware puts BARs of 64 bits: above all RAM. */
  get highWindow(): number {
    return Math.max(BAR_WINDOWS.HIGH, alignUp(FOUR_GIB + this.highRam, GIB));
  }

  /** Guest addresses of RAM from `start` on, in bytes: what lies below 4 GiB, and above it. */
  ramRanges(start: number): readonly { readonly start: number; readonly end: number }[] {
    const low = { start, end: this.lowRam };
    if (this.highRam === 0) return [low];
    return [low, { start: FOUR_GIB, end: FOUR_GIB + this.highRam }];
  }

  #addRoms(core: MemoryCore): void {
    const bios = MemoryRegion.ram(core, "pc.bios", BIOS_BYTES, { block: "pc.bios" });
    this.pci.add(bios, FOUR_GIB - BIOS_BYTES);
    const end = 128 * KIB;
    this.pci.add(
      MemoryRegion.alias(core, "isa-bios", bios, BIOS_BYTES - end, end),
      2 ** 20 - end,
      1,
    );
    this.pci.add(MemoryRegion.ram(core, "pc.rom", ROM_BYTES, { block: "pc.rom" }), 768 * KIB, 1);
    this.pci.add(MemoryRegion.io(core, "vga-lowmem", 128 * KIB), 640 * KIB, 1);
  }

  /** System management mode sees RAM where all others see the VGA. */
  #smramRoot(core: MemoryCore, ram: MemoryRegion): MemoryRegion {
    const root = MemoryRegion.container(core, "mem-container-smram", MEMORY_BYTES);
    root.add(MemoryRegion.alias(core, "mem-smram", this.system, 0, MEMORY_BYTES), 0);
    const start = 640 * KIB;
    root.add(MemoryRegion.alias(core, "smram-low", ram, start, 128 * KIB), start, 10);
    return root;
  }
}
