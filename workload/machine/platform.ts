/** The devices that every machine has: processors' interrupt controllers, chipset, and what is of old. */

import type { Devices } from "../../migration/device/mod.ts";
import {
  LPC_BRIDGE,
  LpcBridge,
  MEMORY_CONTROLLER,
  MemoryController,
  PLAIN_FUNCTION,
  type PlainFunction,
  plainFunctions,
  VGA,
  Vga,
} from "./chipset.ts";
import {
  type InterruptSurroundings,
  IO_APIC,
  IoApic,
  LOCAL_APIC,
  LocalApic,
  PRIORITY_ROM,
  PriorityRom,
} from "./interrupts.ts";
import type { PciBus } from "./pci_bus.ts";
import { addPlainDevice, PLAIN, type PlainDevice } from "./plain_devices.ts";

/** The devices of the platform. */
export class Platform {
  /** A controller for each processor. */
  readonly apics: readonly LocalApic[];
  /** The ROM for task priorities. */
  readonly priorityRom: PriorityRom;
  /** The memory controller. */
  readonly controller: MemoryController;
  /** The LPC bridge. */
  readonly lpc: LpcBridge;
  /** The I/O APIC. */
  readonly ioApic: IoApic;
  /** Disk controller and management bus. */
  readonly functions: readonly PlainFunction[];
  /** The VGA. */
  readonly vga: Vga;
  /** Devices with registers alone. */
  readonly plain: readonly PlainDevice[];

  /**
   * Plugs them into the bus, and adds them to what is saved in the order of QEMU's streams: it decides
   * which changes are pending when a device looks at memory.
   *
   * @param bus the root bus
   * @param surroundings what interrupt controllers look at
   * @param processors how many
   * @param devices where they are added
   */
  constructor(
    bus: PciBus,
    surroundings: InterruptSurroundings,
    processors: number,
    devices: Devices,
  ) {
    const { map } = surroundings;
    const numbers = Array.from({ length: processors }, (_, index) => index);
    this.apics = numbers.map((processor) => new LocalApic(surroundings, processor));
    this.priorityRom = new PriorityRom(surroundings);
    this.controller = new MemoryController(bus, map);
    this.lpc = new LpcBridge(bus, map);
    this.ioApic = new IoApic(surroundings);
    this.functions = plainFunctions(bus);
    this.vga = new Vga(bus, map);

    const { priorityRom, controller, lpc, ioApic, functions, vga } = this;
    const plain = (kinds: readonly (readonly [name: string, size: number])[], instance = 0) =>
      kinds.map((kind) => addPlainDevice(devices, kind, instance));
    for (const state of this.apics) {
      devices.add({ name: "apic", instance: state.processor, description: LOCAL_APIC, state });
    }
    const first = [
      ...plain(PLAIN.CLOCKS),
      ...numbers.flatMap((processor) => plain(PLAIN.PROCESSORS, processor)),
    ];
    devices.add({ name: "kvm-tpr-opt", description: PRIORITY_ROM, state: priorityRom });
    devices.add({ name: controller.pci.name, description: MEMORY_CONTROLLER, state: controller });
    devices.add({ name: lpc.pci.name, description: LPC_BRIDGE, state: lpc });
    devices.add({ name: "ioapic", description: IO_APIC, state: ioApic });
    this.plain = [...first, ...plain(PLAIN.LEGACY)];
    for (const state of functions) {
      devices.add({ name: state.pci.name, description: PLAIN_FUNCTION, state });
    }
    devices.add({ name: vga.pci.name, description: VGA, state: vga });
  }
}
