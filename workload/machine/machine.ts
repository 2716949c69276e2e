/** A machine with devices that behave as those of the published set-up do when they are loaded. */

import { Devices } from "../../migration/device/mod.ts";
import { MemoryCore, type MemoryStatistics } from "../../migration/address_space/memory_core.ts";
import type { GuestMachine } from "../../migration/guest.ts";
import type { GuestBlock } from "../../migration/memory/guest_block.ts";
import { BlockDevice } from "./block_device.ts";
import { boot } from "./firmware.ts";
import { GuestRam } from "./guest_ram.ts";
import { MachineError } from "./machine_error.ts";
import { NetDevice } from "./net_device.ts";
import {
  machineBlocks,
  type MachineOptions,
  type MachineSettings,
  machineSettings,
} from "./options.ts";
import { busAddress, PciBus } from "./pci_bus.ts";
import { Platform } from "./platform.ts";
import { Q35Memory } from "./q35_memory.ts";
import { ViewReader } from "./view_reader.ts";
import type { VirtioDevice } from "./virtio_device.ts";

/**
 * What a machine is doing. A new one has been reset, and is booted or loaded next; one whose loading
 * failed is `"broken"`, and only good to be thrown away.
 */
export type MachineStatus = "new" | "stopped" | "running" | "broken";

/** How memory changes are committed while devices are loaded: all at once, or each by itself. */
export type LoadTransaction = "one" | "per-change";

/** How to load. */
export interface MachineLoadOptions {
  /** How memory changes are committed; default `"one"`. */
  readonly transaction?: LoadTransaction;
}

/** What loading took. */
export interface LoadReport {
  /** Nanoseconds of all of it. */
  readonly total: number;
  /** Nanoseconds of what was put off until memory was what it is now. */
  readonly finish: number;
  /** Counts and times of memory changes. */
  readonly memory: Readonly<MemoryStatistics>;
  /** Who forced commits inside of the transaction, in this order. */
  readonly forcedBy: readonly string[];
}

/**
 * A machine like QEMU's q35: a memory map, a PCI bus with virtio devices, and their state.
 *
 * @example
 * ```ts ignore
 * const machine = new Machine({ netDevices: 8, netQueues: 16 });
 * machine.attach(memory.blocks);
 * machine.load(deviceState, { transaction: "one" });
 * machine.start();
 * ```
 */
export class Machine implements GuestMachine {
  /** Its settings, with defaults. */
  readonly settings: MachineSettings;
  /** All of its address spaces. */
  readonly memory: MemoryCore;
  /** Its memory map. */
  readonly map: Q35Memory;
  /** Its PCI bus. */
  readonly bus: PciBus;
  /** All devices, in the order in which they are saved. */
  readonly devices: Devices = new Devices();
  /** Who looks at memory while devices are loaded. */
  readonly reader: ViewReader;
  /** What every machine has. */
  readonly platform: Platform;
  /** Network devices. */
  readonly netDevices: readonly NetDevice[];
  /** Block devices. */
  readonly blockDevices: readonly BlockDevice[];
  #ram: GuestRam | undefined;
  #status: MachineStatus = "new";
  #failure: unknown;

  /**
   * Makes a machine as it is after a reset, without memory.
   *
   * @throws {MachineError} `BAD_OPTIONS` for settings that cannot be
   */
  constructor(options: MachineOptions = {}) {
    const settings = machineSettings(options);
    const { netQueues, blockQueues, queueSize } = settings;
    const core = new MemoryCore({ debug: settings.debug });
    this.settings = settings;
    this.memory = core;
    const map = new Q35Memory(core, settings);
    const { system, ports, pci, memory } = map;
    const bus = new PciBus(core, { system, ports, memory: pci });
    const reader = new ViewReader(core);
    this.map = map;
    this.bus = bus;
    this.reader = reader;
    const surroundings = { bus, map, reader, ram: () => this.ram };
    this.platform = new Platform(bus, surroundings, settings.processors, this.devices);
    const addresses = deviceAddresses(settings);
    this.netDevices = addresses.net.map((address) =>
      new NetDevice(surroundings, { address, pairs: netQueues, queueSize, memory })
    );
    this.blockDevices = addresses.block.map((address) =>
      new BlockDevice(surroundings, { address, queues: blockQueues, queueSize, memory })
    );
    for (const state of this.netDevices) {
      this.devices.add({ name: state.name, description: state.describe(), state });
    }
    for (const state of this.blockDevices) {
      this.devices.add({ name: state.name, description: state.describe(), state });
    }
  }

  /** Network and block devices. */
  get virtioDevices(): readonly VirtioDevice[] {
    return [...this.netDevices, ...this.blockDevices];
  }

  /** What it is doing. */
  get status(): MachineStatus {
    return this.#status;
  }

  /** Its RAM; throws {@linkcode MachineError} when it has none. */
  get ram(): GuestRam {
    if (this.#ram !== undefined) return this.#ram;
    throw new MachineError("WRONG_MEMORY", "Machine has no memory: attach() its RAM blocks first");
  }

  /**
   * Gives it its RAM.
   *
   * @param blocks those of {@linkcode machineBlocks}; they stay mapped as long as the machine is used
   * @throws {MachineError} `WRONG_MEMORY` when one is missing or of another size
   */
  attach(blocks: readonly GuestBlock[] | GuestRam): void {
    const ram = blocks instanceof GuestRam ? blocks : GuestRam.mapped(blocks);
    for (const { name, length } of machineBlocks(this.settings)) {
      const found = ram.lengthOf(name);
      if (found === length) continue;
      throw new MachineError(
        "WRONG_MEMORY",
        `Machine needs a RAM block ${name} of ${length} bytes, found: ${found ?? "none"}: make ` +
          `the blocks with machineBlocks() and the machine's settings`,
      );
    }
    this.#ram = ram;
  }

  /**
   * Does what firmware and drivers do: BARs are mapped, queues set up, and their rings written.
   *
   * @param seed what the guest's choices are made from
   * @throws {MachineError} `WRONG_STATE` unless the machine is new
   */
  boot(seed: number): void {
    this.#require("booted", "new");
    boot(this, seed);
    this.#status = "stopped";
  }

  /**
   * Returns the state of its devices, for a machine with the same settings.
   *
   * @throws {MachineError} `WRONG_STATE` unless the machine is stopped
   */
  save(): Uint8Array<ArrayBuffer> {
    this.#require("saved", "stopped");
    return this.devices.save();
  }

  /**
   * Loads the state of its devices; the memory that was saved with it must be there, or be fetched when
   * it is touched. When this throws the machine is broken.
   *
   * @throws {DeviceStateError} for a state that is not of these devices
   * @throws {MachineError} `BAD_RING` for rings that are not those of the state, `WRONG_STATE` unless
   * the machine is new
   */
  load(bytes: Uint8Array, options: MachineLoadOptions = {}): LoadReport {
    this.#require("loaded", "new");
    const { memory: core, reader } = this;
    core.resetStatistics();
    reader.reset();
    const began = performance.now();
    const one = (options.transaction ?? "one") === "one";
    try {
      this.devices.load(bytes, one ? { around: (load) => core.transaction(load) } : {});
      const loaded = performance.now();
      this.finishLoad();
      const ended = performance.now();
      return {
        total: Math.round((ended - began) * 1e6),
        finish: Math.round((ended - loaded) * 1e6),
        memory: { ...core.statistics },
        forcedBy: [...reader.forcedBy],
      };
    } catch (error) {
      this.#status = "broken";
      this.#failure = error;
      throw error;
    }
  }

  /**
   * Ends a loading by somebody else, who has called `devices.load()`: does what was put off until the
   * memory transaction around it ended. {@linkcode Machine.load} has done so already.
   *
   * @throws {MachineError} `BAD_RING` for rings that are not those of the state; `WRONG_STATE` unless
   * the machine is new
   */
  finishLoad(): void {
    this.#require("finished loading", "new");
    for (const device of this.virtioDevices) device.finishLoad();
    this.#status = "stopped";
  }

  /**
   * Runs it. Every queue is checked before the first one runs.
   *
   * @throws {MachineError} `STALE_CACHE` when a queue does not know where its rings are, `WRONG_STATE`
   * when the machine was not loaded, or that failed
   */
  start(): void {
    this.#require("started", "stopped");
    const devices = this.virtioDevices;
    for (const device of devices) device.checkCaches();
    this.memory.transaction(() => {
      for (const device of devices) device.start();
    });
    this.#status = "running";
  }

  /** Stops it; it can be saved then. */
  stop(): void {
    this.#require("stopped", "running");
    this.memory.transaction(() => {
      for (const device of this.virtioDevices) device.stop();
    });
    this.#status = "stopped";
  }

  #require(what: string, status: MachineStatus): void {
    if (this.#status === status) return;
    const failure = this.#failure instanceof Error ? `: ${this.#failure.message}` : "";
    throw new MachineError(
      "WRONG_STATE",
      `Machine cannot be ${what} unless it is ${status}: it is ${this.#status}${failure}`,
      this.#failure === undefined ? {} : { cause: this.#failure },
    );
  }
}

/** Network devices come first on the bus, from slot 2 on. */
function deviceAddresses({ netDevices, blockDevices }: MachineSettings): {
  readonly net: readonly string[];
  readonly block: readonly string[];
} {
  const all = Array.from(
    { length: netDevices + blockDevices },
    (_, index) => busAddress(2 + (index >>> 3), index & 7),
  );
  return { net: all.slice(0, netDevices), block: all.slice(netDevices) };
}
