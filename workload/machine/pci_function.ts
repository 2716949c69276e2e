/** A device on the PCI bus. */

import { bytes, type Description, description, u32 } from "../../migration/device/mod.ts";
import { AddressSpace } from "../../migration/address_space/address_space.ts";
import { MemoryRegion } from "../../migration/address_space/memory_region.ts";
import { MachineError } from "./machine_error.ts";
import type { PciBus } from "./pci_bus.ts";
import { type BarLayout, COMMAND, CONFIG, CONFIG_BYTES, PciConfig } from "./pci_config.ts";

/** A BAR with what it maps. */
export interface Bar extends BarLayout {
  /** Of the BAR's size. */
  readonly region: MemoryRegion;
}

/** What a function is. */
export interface PciFunctionOptions {
  /** Where on the bus, for example `"0000:00:02.1"`. */
  readonly address: string;
  /** What it is, for example `"virtio-net"`. */
  readonly model: string;
  /** Vendor id. */
  readonly vendor: number;
  /** Device id. */
  readonly device: number;
  /** Class code: class, subclass and interface. */
  readonly deviceClass: number;
  /** Its BARs. */
  readonly bars: readonly Bar[];
}

/**
 * A function with its configuration space, its BARs, which the command register maps into the bus, and
 * an address space of its own: what it sees of the system's memory, nothing while it is no bus master.
 */
export class PciFunction {
  /** Address on the bus and model, as in names of device sections. */
  readonly name: string;
  /** What the guest configures. */
  readonly registers: PciConfig;
  /** Bytes of the configuration space, as the state has them. */
  readonly config: Uint8Array;
  /** Level of its interrupt pin. */
  interrupt = 0;
  /** Its BARs. */
  readonly bars: readonly Bar[];
  /** What it sees of memory. */
  readonly busMaster: AddressSpace;
  readonly #busMasterEnable: MemoryRegion;
  readonly #bus: PciBus;
  readonly #identity: number;

  /**
   * @param bus the bus that it is plugged into
   * @param options what it is
   */
  constructor(bus: PciBus, options: PciFunctionOptions) {
    const { address, model, vendor, device, deviceClass, bars } = options;
    const { core, system } = bus;
    this.name = `${address}/${model}`;
    this.registers = new PciConfig(vendor, device, bars);
    this.config = this.registers.bytes;
    this.config[CONFIG.CLASS + 1] = deviceClass & 0xff;
    this.config[CONFIG.CLASS + 2] = (deviceClass >>> 8) & 0xff;
    this.config[CONFIG.CLASS + 3] = deviceClass >>> 16;
    this.bars = bars;
    this.#bus = bus;
    this.#identity = this.registers.identity;
    const { name } = this;
    const root = MemoryRegion.container(core, `${name} bus master container`, system.size);
    const enable = MemoryRegion.alias(core, `${name} bus master`, system, 0, system.size);
    enable.enabled = false;
    root.add(enable, 0);
    this.#busMasterEnable = enable;
    this.busMaster = new AddressSpace(core, name, root);
    bus.plug(this);
  }

  /** Writes a register as the guest does; what it maps changes at once. */
  writeConfig(offset: number, value: number, size: 1 | 2 | 4): void {
    this.registers.write(offset, value, size);
    this.update();
  }

  /** Maps BARs as the configuration space says. Each that moves is a change of memory of its own. */
  update(): void {
    for (const bar of this.bars) this.#updateBar(bar);
    this.#busMasterEnable.enabled = (this.registers.command & COMMAND.BUS_MASTER) !== 0;
  }

  /**
   * Takes a configuration space that was loaded.
   *
   * @throws {MachineError} `OTHER_MACHINE` for that of another device
   */
  loaded(): void {
    const { identity } = this.registers;
    if (identity !== this.#identity) {
      throw new MachineError(
        "OTHER_MACHINE",
        `Configuration space of ${this.name} is of another device: ${hex(identity)}, not ` +
          `${hex(this.#identity)}: load it into a machine with the same devices in the same slots`,
      );
    }
    this.update();
  }

  #updateBar(bar: Bar): void {
    const container = bar.kind === "io" ? this.#bus.ports : this.#bus.memory;
    const { region, size } = bar;
    let address = this.registers.barAddress(bar);
    // A guest can write any address; where the bus has none, the BAR is not seen.
    if (address !== undefined && address > container.size - size) address = undefined;
    const mapped = region.parent === undefined ? undefined : region.address;
    if (address === mapped) return;
    if (mapped !== undefined) container.remove(region);
    if (address !== undefined) container.add(region, address, 1);
  }
}

/** The state of a function; when it has been read, BARs are mapped, one change of memory each. */
export const PCI_FUNCTION: Description<PciFunction> = description({
  name: "PCIDevice",
  version: 2,
  fields: { config: bytes(CONFIG_BYTES), interrupt: u32 },
  postLoad: (state: PciFunction) => state.loaded(),
});

function hex(identity: number): string {
  return `${(identity & 0xffff).toString(16)}:${(identity >>> 16).toString(16)}`;
}
