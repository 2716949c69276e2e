/** What the chipset shows from 640 KiB to 1 MiB: RAM, or the bus with its ROMs and the VGA. */

import type { MemoryCore } from "../../migration/address_space/memory_core.ts";
import { MemoryRegion } from "../../migration/address_space/memory_region.ts";

const KIB = 2 ** 10;
/** Programmable attribute map (Intel 82Q35 MCH, 5.1.14): the BIOS area, and twelve windows of 16 KiB. */
const WINDOWS: readonly (readonly [start: number, size: number])[] = [
  [960 * KIB, 64 * KIB],
  ...Array.from({ length: 12 }, (_, i) => [(768 + 16 * i) * KIB, 16 * KIB] as const),
];

/** Registers of the map, one byte each: the first has one window, the others two. */
export const PAM_REGISTERS = 7;

/** What a window shows, by two bits of a register. */
const MODES = ["pci", "rom", "pci-write", "ram"] as const;

/** The regions that the windows are made of. */
export interface LegacyRegions {
  /** All memory. */
  readonly system: MemoryRegion;
  /** What the bus answers to. */
  readonly pci: MemoryRegion;
  /** The RAM. */
  readonly ram: MemoryRegion;
}

/** The windows, each with an alias for every mode, of which one is enabled. */
export class LegacyWindows {
  readonly #core: MemoryCore;
  readonly #windows: readonly (readonly MemoryRegion[])[];
  readonly #vga: MemoryRegion;

  /**
   * Adds them to the system's memory, all showing the bus.
   *
   * @param core the machine's memory
   * @param regions what they show
   */
  constructor(core: MemoryCore, { system, pci, ram }: LegacyRegions) {
    this.#core = core;
    this.#windows = WINDOWS.map(([start, size]) =>
      MODES.map((mode, index) => {
        const target = mode === "ram" || mode === "rom" ? ram : pci;
        const alias = MemoryRegion.alias(core, `pam-${mode}`, target, start, size);
        alias.enabled = index === 0;
        system.add(alias, start, 1);
        return alias;
      })
    );
    this.#vga = MemoryRegion.alias(core, "smram-region", pci, 640 * KIB, 128 * KIB);
    system.add(this.#vga, 640 * KIB, 1);
  }

  /**
   * Shows what registers say, in one change of memory.
   *
   * @param registers the attribute map, {@linkcode PAM_REGISTERS} bytes
   * @param vga whether the VGA is seen; else the RAM behind it
   */
  show(registers: Uint8Array, vga: boolean): void {
    this.#core.transaction(() => {
      this.#windows.forEach((aliases, window) => {
        const register = registers[(window + 1) >>> 1]!;
        // The first register's lower half is not used.
        const upper = window === 0 || window % 2 === 0;
        const mode = (upper ? register >>> 4 : register) & 3;
        aliases.forEach((alias, index) => alias.enabled = index === mode);
      });
      this.#vga.enabled = vga;
    });
  }
}
