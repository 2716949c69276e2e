/** The functions of a q35's chipset, as far as they change the memory map. */

import { bytes, type Description, description, struct, u8 } from "../../migration/device/mod.ts";
import { MemoryRegion } from "../../migration/address_space/memory_region.ts";
import { PAM_REGISTERS } from "./legacy_windows.ts";
import { busAddress, type PciBus } from "./pci_bus.ts";
import type { BarKind } from "./pci_config.ts";
import { type Bar, PCI_FUNCTION, PciFunction } from "./pci_function.ts";
import type { Q35Memory } from "./q35_memory.ts";

const INTEL = 0x8086;
const KIB = 2 ** 10;
const VGA_REGISTERS = 100;

/** Registers of the memory controller (Intel 82Q35 MCH, 5.1), and of the LPC bridge (ICH9, 13.1). */
export const CHIPSET = {
  /** Where configuration spaces are in memory: 8 bytes, bit 0 to enable. */
  CONFIG_WINDOW: 0x60,
  /** The windows below 1 MiB. */
  PAM: 0x90,
  /** System management RAM; bit 6 shows it to all. */
  SMRAM: 0x9d,
  /** Ports of power management. */
  PM_BASE: 0x40,
  /** Bit 7 enables them. */
  ACPI_CONTROL: 0x44,
  /** Where the chipset's own registers are in memory, bit 0 to enable. */
  ROOT_COMPLEX: 0xf0,
} as const;

const SMRAM_OPEN = 0x40;
const ACPI_ENABLE = 0x80;

function bar(bus: PciBus, name: string, index: number, kind: BarKind, size: number): Bar {
  return { index, kind, size, region: MemoryRegion.io(bus.core, name, size) };
}

/** Puts a region where it is to be, or nowhere; no change when it is there already. */
function place(container: MemoryRegion, region: MemoryRegion, address: number | undefined): void {
  const placed = region.parent !== undefined;
  if (placed && region.address === address) return;
  if (placed) container.remove(region);
  if (address !== undefined) container.add(region, address, 1);
}

/** The memory controller. */
export class MemoryController {
  /** Its place on the bus. */
  readonly pci: PciFunction;
  readonly #map: Q35Memory;

  /**
   * Plugs it into the bus.
   *
   * @param map what its registers change
   */
  constructor(bus: PciBus, map: Q35Memory) {
    this.#map = map;
    const what = { model: "mch", vendor: INTEL, device: 0x29c0, deviceClass: 0x06_00_00 };
    this.pci = new PciFunction(bus, { address: busAddress(0), ...what, bars: [] });
    const { registers } = this.pci;
    registers.makeWritable(CHIPSET.CONFIG_WINDOW, 8);
    registers.makeWritable(CHIPSET.PAM, PAM_REGISTERS);
    registers.makeWritable(CHIPSET.SMRAM, 1);
  }

  /** Shows memory as its registers say. */
  update(): void {
    const { registers, config } = this.pci;
    const low = registers.u32(CHIPSET.CONFIG_WINDOW);
    const window = (low & 1) === 0 ? undefined : (low & 0xf000_0000) >>> 0;
    const { legacy, pci, configWindow } = this.#map;
    place(pci, configWindow, window);
    const smram = config[CHIPSET.SMRAM]!;
    const attributes = config.subarray(CHIPSET.PAM, CHIPSET.PAM + PAM_REGISTERS);
    legacy.show(attributes, (smram & SMRAM_OPEN) === 0);
  }
}

/** The state of the memory controller. */
export const MEMORY_CONTROLLER: Description<MemoryController> = description({
  name: "mch",
  version: 1,
  fields: { pci: struct(PCI_FUNCTION) },
  postLoad: (state: MemoryController) => state.update(),
});

/** The bridge to what was once the ISA bus. */
export class LpcBridge {
  /** Its place on the bus. */
  readonly pci: PciFunction;
  readonly #map: Q35Memory;
  readonly #power: MemoryRegion;
  readonly #rootComplex: MemoryRegion;

  /**
   * Plugs it into the bus.
   *
   * @param map what its registers change
   */
  constructor(bus: PciBus, map: Q35Memory) {
    this.#map = map;
    const what = { model: "ICH9LPC", vendor: INTEL, device: 0x2918, deviceClass: 0x06_01_00 };
    this.pci = new PciFunction(bus, { address: busAddress(0x1f), ...what, bars: [] });
    const { registers } = this.pci;
    registers.makeWritable(CHIPSET.PM_BASE, 8);
    registers.makeWritable(CHIPSET.ROOT_COMPLEX, 4);
    this.#power = MemoryRegion.io(bus.core, "ich9-pm", 128);
    this.#rootComplex = MemoryRegion.io(bus.core, "lpc-rcrb-mmio", 16 * KIB);
  }

  /** Maps what its registers say. */
  update(): void {
    const { registers } = this.pci;
    const enabled = (registers.u32(CHIPSET.ACPI_CONTROL) & ACPI_ENABLE) !== 0;
    const ports = registers.u32(CHIPSET.PM_BASE) & 0xff80;
    place(this.#map.ports, this.#power, enabled ? ports : undefined);
    const base = registers.u32(CHIPSET.ROOT_COMPLEX);
    const address = (base & 1) === 0 ? undefined : (base & ~(16 * KIB - 1)) >>> 0;
    place(this.#map.system, this.#rootComplex, address);
  }
}

/** The state of the bridge. */
export const LPC_BRIDGE: Description<LpcBridge> = description({
  name: "ICH9LPC",
  version: 1,
  fields: { pci: struct(PCI_FUNCTION) },
  postLoad: (state: LpcBridge) => state.update(),
});

/** The VGA: its memory is behind a BAR, and in text mode a part of it where it was in 1987. */
export class Vga {
  /** Its place on the bus. */
  readonly pci: PciFunction;
  /** Its registers. */
  readonly registers: Uint8Array = new Uint8Array(VGA_REGISTERS);
  /** 1 when its planes are chained. */
  chained = 0;
  readonly #map: Q35Memory;
  readonly #window: MemoryRegion;

  /**
   * Plugs it into the bus.
   *
   * @param map what its registers change
   */
  constructor(bus: PciBus, map: Q35Memory) {
    this.#map = map;
    const { vgaMemory } = map;
    const what = { model: "vga", vendor: 0x1234, device: 0x1111, deviceClass: 0x03_00_00 };
    const bars: Bar[] = [
      { index: 0, kind: "memory", size: vgaMemory.size, region: vgaMemory },
      bar(bus, "vga.mmio", 2, "memory", 4 * KIB),
    ];
    this.pci = new PciFunction(bus, { address: busAddress(1), ...what, bars });
    this.#window = MemoryRegion.alias(bus.core, "vga.chain4", vgaMemory, 0, 64 * KIB);
  }

  /** Shows its memory in the old place when its planes are chained. */
  update(): void {
    place(this.#map.pci, this.#window, this.chained === 0 ? undefined : 640 * KIB);
  }
}

/** The state of the VGA. */
export const VGA: Description<Vga> = description({
  name: "vga",
  version: 2,
  fields: { pci: struct(PCI_FUNCTION), registers: bytes(VGA_REGISTERS), chained: u8 },
  postLoad: (state: Vga) => state.update(),
});

/** A function of which the memory map has no more than its BARs. */
export interface PlainFunction {
  /** Its place on the bus. */
  readonly pci: PciFunction;
}

/** Makes the disk controller and the one of the system management bus. */
export function plainFunctions(bus: PciBus): readonly PlainFunction[] {
  const ahci = new PciFunction(bus, {
    ...{ address: busAddress(0x1f, 2), model: "ich9_ahci", vendor: INTEL, device: 0x2922 },
    deviceClass: 0x01_06_01,
    bars: [bar(bus, "ahci-idp", 4, "io", 32), bar(bus, "ahci", 5, "memory", 4 * KIB)],
  });
  const smb = new PciFunction(bus, {
    ...{ address: busAddress(0x1f, 3), model: "ich9_smb", vendor: INTEL, device: 0x2930 },
    deviceClass: 0x0c_05_00,
    bars: [bar(bus, "pm-smbus", 4, "io", 64)],
  });
  return [{ pci: ahci }, { pci: smb }];
}

/** The state of such a function. */
export const PLAIN_FUNCTION: Description<PlainFunction> = description({
  name: "function",
  version: 1,
  fields: { pci: struct(PCI_FUNCTION) },
});
