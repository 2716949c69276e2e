/** The root bus. */

import type { MemoryCore } from "../../migration/address_space/memory_core.ts";
import type { MemoryRegion } from "../../migration/address_space/memory_region.ts";
import type { PciFunction } from "./pci_function.ts";

/** Where a bus's regions are. */
export interface PciBusOptions {
  /** What functions see when they are bus masters: all memory. */
  readonly system: MemoryRegion;
  /** Where memory BARs are mapped. */
  readonly memory: MemoryRegion;
  /** Where I/O BARs are mapped. */
  readonly ports: MemoryRegion;
}

/** The root bus with its functions. */
export class PciBus {
  /** The machine's memory. */
  readonly core: MemoryCore;
  /** What functions see when they are bus masters. */
  readonly system: MemoryRegion;
  /** Where memory BARs are mapped. */
  readonly memory: MemoryRegion;
  /** Where I/O BARs are mapped. */
  readonly ports: MemoryRegion;
  readonly #functions: PciFunction[] = [];

  /**
   * @param core the machine's memory
   * @param options where its regions are
   */
  constructor(core: MemoryCore, { system, memory, ports }: PciBusOptions) {
    this.core = core;
    this.system = system;
    this.memory = memory;
    this.ports = ports;
  }

  /** All functions, in the order they were plugged. */
  get functions(): readonly PciFunction[] {
    return this.#functions;
  }

  /** For functions: called by each when it is made. */
  plug(each: PciFunction): void {
    this.#functions.push(each);
  }
}

/**
 * Writes a function's address on the root bus.
 *
 * @param slot 0 to 31
 * @param number 0 to 7, of the function in its slot
 */
export function busAddress(slot: number, number = 0): string {
  return `0000:00:${slot.toString(16).padStart(2, "0")}.${number}`;
}
