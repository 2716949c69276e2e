/** A virtio device on the PCI bus: its registers and queues, and when it looks at memory. */

import {
  array,
  bytes,
  type Description,
  description,
  type Field,
  struct,
  u16,
  u64,
  u8,
} from "../../migration/device/mod.ts";
import type { MemoryListener } from "../../migration/address_space/memory_listener.ts";
import type { MemoryRegion } from "../../migration/address_space/memory_region.ts";
import type { RegionEvent } from "../../migration/address_space/region_event.ts";
import type { GuestRam } from "./guest_ram.ts";
import { MachineError } from "./machine_error.ts";
import type { PciBus } from "./pci_bus.ts";
import { PCI_FUNCTION, PciFunction } from "./pci_function.ts";
import type { ViewReader } from "./view_reader.ts";
import {
  LEGACY_NOTIFY,
  NOTIFY_STEP,
  VECTOR_BYTES,
  type VirtioBars,
  virtioBars,
} from "./virtio_bars.ts";
import { VIRTIO_QUEUE, VirtioQueue } from "./virtio_queue.ts";
import type { VhostBackend } from "./vhost_backend.ts";

const VIRTIO_VENDOR = 0x1af4;
/** Bit of the device status: the driver is ready to drive it (virtio 1.2, 2.1). */
export const DRIVER_OK = 4;

/** What devices of a machine share. */
export interface DeviceSurroundings {
  /** Where it is plugged. */
  readonly bus: PciBus;
  /** Through which it reads flat views. */
  readonly reader: ViewReader;
  /** Returns the machine's RAM, once that is there. */
  readonly ram: () => GuestRam;
}

/** What a virtio device is. */
export interface VirtioOptions {
  /** Where on the bus. */
  readonly address: string;
  /** For example `"virtio-net"`. */
  readonly model: string;
  /** Device id on the bus. */
  readonly device: number;
  /** Class code. */
  readonly deviceClass: number;
  /** How many queues. */
  readonly queues: number;
  /** Descriptors of each at most. */
  readonly queueSize: number;
  /** Bytes of its device configuration. */
  readonly configurationBytes: number;
}

/** How many queues and vectors a state has; it must be as many as the device has. */
export class VirtioShape {
  /** Queues. */
  queueCount: number;
  /** Interrupt vectors. */
  vectorCount: number;
  readonly #device: string;
  readonly #queues: number;
  readonly #vectors: number;

  /** @param device name of the device, for messages */
  constructor(device: string, queues: number, vectors: number) {
    this.#device = device;
    this.queueCount = this.#queues = queues;
    this.vectorCount = this.#vectors = vectors;
  }

  /**
   * Takes what was loaded.
   *
   * @throws {MachineError} `OTHER_MACHINE` for other numbers
   */
  loaded(): void {
    if (this.queueCount === this.#queues && this.vectorCount === this.#vectors) return;
    throw new MachineError(
      "OTHER_MACHINE",
      `State is of another ${this.#device}: ${this.queueCount} queues and ${this.vectorCount} ` +
        `vectors, not ${this.#queues} and ${this.#vectors}: make the machine with the settings ` +
        `of the one that was saved`,
    );
  }
}

const SHAPE: Description<VirtioShape> = description({
  name: "virtio/shape",
  version: 1,
  fields: { queueCount: u16, vectorCount: u16 },
  postLoad: (state: VirtioShape) => state.loaded(),
});

/**
 * A virtio device. The caches of its rings are built from what its address space shows: whenever that
 * changes, and when its state has been loaded. While a memory transaction is open the view is not what
 * it will be, and a look at it would force a commit: the caches are put off then until
 * {@linkcode VirtioDevice.finishLoad}.
 */
export class VirtioDevice implements MemoryListener {
  /** Name of its section. */
  readonly name: string;
  /** Its place on the bus. */
  readonly pci: PciFunction;
  /** How many queues and vectors there are. */
  readonly shape: VirtioShape;
  /** Interrupt vectors as the guest has set them. */
  readonly vectorTable: Uint8Array;
  /** Vectors that are pending, a bit each. */
  readonly pendingVectors: Uint8Array;
  /** Device status. */
  status = 0;
  /** Interrupt status. */
  isr = 0;
  /** Features that the driver has accepted. */
  features = 0n;
  /** Queue that the common configuration shows. */
  queueSelect = 0;
  /** Device configuration. */
  readonly configuration: Uint8Array;
  /** Its queues. */
  readonly queues: VirtioQueue[];
  /** Kernel threads or processes that serve its queues. */
  readonly backends: readonly VhostBackend[] = [];
  /** What it was made in. */
  protected readonly surroundings: DeviceSurroundings;
  readonly #bars: VirtioBars;
  #putOff = false;
  #running = false;

  /**
   * Plugs it into the bus.
   *
   * @param surroundings what devices share
   * @param options what it is
   */
  constructor(surroundings: DeviceSurroundings, options: VirtioOptions) {
    const { address, model, device, deviceClass, queues, queueSize } = options;
    const { bus } = surroundings;
    const vectors = queues + 1; // one for changes of the configuration
    this.surroundings = surroundings;
    this.name = `${address}/${model}`;
    this.#bars = virtioBars(bus.core, this.name, queues, vectors);
    const { bars } = this.#bars;
    const vendor = VIRTIO_VENDOR;
    this.pci = new PciFunction(bus, { address, model, vendor, device, deviceClass, bars });
    this.shape = new VirtioShape(this.name, queues, vectors);
    this.vectorTable = new Uint8Array(vectors * VECTOR_BYTES);
    this.pendingVectors = new Uint8Array(Math.ceil(vectors / 8));
    this.configuration = new Uint8Array(options.configurationBytes);
    this.queues = Array.from(
      { length: queues },
      (_, index) => new VirtioQueue(this.name, index, queueSize),
    );
    this.pci.busMaster.addListener(this);
  }

  /** Whether its queues are being served. */
  get running(): boolean {
    return this.#running;
  }

  /** Whether the caches of its rings wait for the end of loading. */
  get putOff(): boolean {
    return this.#putOff;
  }

  /** Queues that the driver has set up, if it drives the device. */
  get activeQueues(): readonly VirtioQueue[] {
    return (this.status & DRIVER_OK) === 0 ? [] : this.queues.filter(({ enabled }) => enabled);
  }

  /** What it sees of memory has changed: caches are looked up again; one without rings is dropped. */
  commit(): void {
    const { busMaster } = this.pci;
    for (const queue of this.queues) {
      if (!queue.enabled) continue;
      try {
        queue.buildCache(busMaster.lastView, this.surroundings.ram());
      } catch (error) {
        // The guest may make its rings vanish. Then it matters only if the device is to run.
        if (!(error instanceof MachineError)) throw error;
      }
    }
  }

  /**
   * Takes a state that was loaded.
   *
   * @throws {MachineError} `BAD_RING` for rings that are not in memory, or not those of the state;
   * inside of a memory transaction {@linkcode VirtioDevice.finishLoad} throws that instead
   */
  loaded(): void {
    this.#putOff = this.surroundings.bus.core.depth > 0;
    if (!this.#putOff) this.#buildCaches();
  }

  /**
   * Does what was put off while it was loaded, when memory is what it will be.
   *
   * @throws {MachineError} `BAD_RING` for rings that are not in memory, or not those of the state
   */
  finishLoad(): void {
    if (!this.#putOff) return;
    this.#buildCaches();
    this.#putOff = false;
  }

  /**
   * Checks that each queue that is to run knows where its rings are.
   *
   * @throws {MachineError} `STALE_CACHE` when one does not
   */
  checkCaches(): void {
    const view = this.surroundings.reader.read(this.pci.busMaster, this.name);
    const ram = this.surroundings.ram();
    for (const queue of this.activeQueues) {
      if (queue.isCacheTrue(view, ram)) continue;
      const what = queue.cache === undefined ? "was not looked up" : "is not true any more";
      throw new MachineError(
        "STALE_CACHE",
        `Device ${this.name} cannot run queue ${queue.index}: where its rings are ${what}: ` +
          `call finishLoad() when the memory transaction of the loading has ended`,
      );
    }
  }

  /** Serves the queues: from here on writes to their notify addresses are events. */
  start(): void {
    if (this.#running) return;
    this.#running = true;
    for (const { region, event } of this.#events()) region.addEvent(event);
  }

  /** Serves them no longer. */
  stop(): void {
    if (!this.#running) return;
    this.#running = false;
    for (const { region, event } of this.#events()) region.removeEvent(event);
  }

  /** A queue has two notify addresses: one of its own, and the ports, where its number is written. */
  *#events(): Generator<{ region: MemoryRegion; event: RegionEvent }> {
    const { legacy, notify } = this.#bars;
    for (const queue of this.activeQueues) {
      const { index } = queue;
      yield { region: notify, event: { offset: NOTIFY_STEP * index, size: 2, key: queue } };
      const event = { offset: LEGACY_NOTIFY, size: 2, value: index, key: queue };
      yield { region: legacy, event };
    }
  }

  #buildCaches(): void {
    const { reader, ram } = this.surroundings;
    const view = reader.read(this.pci.busMaster, this.name);
    for (const queue of this.activeQueues) {
      // The commit that showed the rings has looked them up already, unless nothing changed for it.
      if (!queue.isCacheTrue(view, ram())) queue.buildCache(view, ram());
      queue.checkRings();
    }
  }
}

/** Fields that every virtio device has. A type, as an interface has no index signature. */
export type VirtioFields = {
  readonly pci: Field<PciFunction>;
  readonly shape: Field<VirtioShape>;
  readonly vectorTable: Field<Uint8Array>;
  readonly pendingVectors: Field<Uint8Array>;
  readonly status: Field<number>;
  readonly isr: Field<number>;
  readonly features: Field<bigint>;
  readonly queueSelect: Field<number>;
  readonly configuration: Field<Uint8Array>;
  readonly queues: Field<VirtioQueue[]>;
};

/** Returns the fields that every virtio device has; arrays are as long as in this one. */
export function virtioFields(device: VirtioDevice): VirtioFields {
  const { queues, vectorTable, pendingVectors, configuration } = device;
  return {
    pci: struct(PCI_FUNCTION),
    shape: struct(SHAPE),
    vectorTable: bytes(vectorTable.length),
    pendingVectors: bytes(pendingVectors.length),
    status: u8,
    isr: u8,
    features: u64,
    queueSelect: u16,
    configuration: bytes(configuration.length),
    queues: array(struct(VIRTIO_QUEUE), queues.length),
  };
}
