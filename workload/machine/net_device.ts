/** A network device whose queues are served by vhost in the kernel. */

import {
  bytes,
  countedBytes,
  type Description,
  description,
  u16,
  u32,
  u8,
} from "../../migration/device/mod.ts";
import type { AddressSpace } from "../../migration/address_space/address_space.ts";
import { netQueueCount } from "./options.ts";
import { VhostBackend } from "./vhost_backend.ts";
import { type DeviceSurroundings, VirtioDevice, virtioFields } from "./virtio_device.ts";

const MAC_BYTES = 6;
/** Entries of the filter table. */
const MOST_FILTERS = 64;

/** Where a network device is, and how many queues it has. */
export interface NetOptions {
  /** Where on the bus. */
  readonly address: string;
  /** Pairs of queues. */
  readonly pairs: number;
  /** Descriptors of a queue. */
  readonly queueSize: number;
  /** What backends see: all memory. */
  readonly memory: AddressSpace;
}

/** A network device with a vhost backend for each pair of queues. */
export class NetDevice extends VirtioDevice {
  override readonly backends: readonly VhostBackend[];
  /** Hardware address. */
  readonly mac: Uint8Array = new Uint8Array(MAC_BYTES);
  /** Whether it takes all packets. */
  promiscuous = 0;
  /** Pairs of queues that the driver uses. */
  pairs = 1;
  /** Bytes of the filter table. */
  filterBytes = 0;
  /** Hardware addresses that it takes besides its own. */
  filters: Uint8Array = new Uint8Array(0);

  /**
   * Plugs it into the bus.
   *
   * @param surroundings what devices share
   * @param options where it is
   */
  constructor(surroundings: DeviceSurroundings, options: NetOptions) {
    const { address, pairs, queueSize, memory } = options;
    const queues = netQueueCount(pairs);
    const what = { model: "virtio-net", device: 0x1041, deviceClass: 0x02_00_00 };
    super(surroundings, { address, ...what, queues, queueSize, configurationBytes: 12 });
    this.backends = Array.from({ length: pairs }, (_, pair) => {
      const backend = new VhostBackend(`${this.name} vhost ${pair}`);
      memory.addListener(backend);
      return backend;
    });
  }

  /** What its state consists of. */
  describe(): Description<NetDevice> {
    return description({
      name: "virtio-net",
      version: 11,
      fields: { ...virtioFields(this), mac: bytes(MAC_BYTES), promiscuous: u8 },
      subsections: [MULTIQUEUE, FILTERS],
      postLoad: (state: NetDevice) => state.loaded(),
    });
  }
}

const MULTIQUEUE: Description<NetDevice> = description({
  name: "virtio-net/multiqueue",
  version: 1,
  fields: { pairs: u16 },
  needed: (state: NetDevice) => state.backends.length > 1,
});

const FILTERS: Description<NetDevice> = description({
  name: "virtio-net/filters",
  version: 1,
  fields: { filterBytes: u32, filters: countedBytes("filterBytes", MOST_FILTERS * MAC_BYTES) },
  needed: (state: NetDevice) => state.filterBytes > 0,
});
