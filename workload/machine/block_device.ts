/** A block device whose queues are served by another process. */

import {
  bool,
  counted,
  type Description,
  description,
  safeU64,
  struct,
  u16,
  u32,
} from "../../migration/device/mod.ts";
import type { AddressSpace } from "../../migration/address_space/address_space.ts";
import type { RamSlice } from "./guest_ram.ts";
import { VhostBackend } from "./vhost_backend.ts";
import { type DeviceSurroundings, VirtioDevice, virtioFields } from "./virtio_device.ts";

const MOST_REQUESTS = 1024;
const MOST_SEGMENTS = 128;

/** A buffer of a request. */
export interface Segment {
  /** Guest address. */
  address: number;
  /** Bytes. */
  length: number;
  /** Whether the device writes to it. */
  writable: boolean;
}

/** A request that the device has taken and not done with. */
export interface Request {
  /** Number of its queue. */
  queue: number;
  /** Head of its chain. */
  head: number;
  /** As many as there are `segments`. */
  segmentCount: number;
  /** Its buffers. */
  segments: Segment[];
}

/** Where a block device is, and how many queues it has. */
export interface BlockOptions {
  /** Where on the bus. */
  readonly address: string;
  /** How many queues. */
  readonly queues: number;
  /** Descriptors of a queue. */
  readonly queueSize: number;
  /** What its backend sees: all memory. */
  readonly memory: AddressSpace;
}

/** A block device with one backend for all of its queues, and requests that may be in flight. */
export class BlockDevice extends VirtioDevice {
  override readonly backends: readonly VhostBackend[];
  /** As many as there are `requests`. */
  requestCount = 0;
  /** Requests that were in flight when the device was stopped. */
  requests: Request[] = [];
  #mapped: readonly (readonly RamSlice[])[] = [];

  /**
   * Plugs it into the bus.
   *
   * @param surroundings what devices share
   * @param options where it is
   */
  constructor(surroundings: DeviceSurroundings, options: BlockOptions) {
    const { address, queues, queueSize, memory } = options;
    const what = { model: "vhost-user-blk", device: 0x1042, deviceClass: 0x01_00_00 };
    super(surroundings, { address, ...what, queues, queueSize, configurationBytes: 60 });
    const backend = new VhostBackend(`${this.name} vhost-user`);
    memory.addListener(backend);
    this.backends = [backend];
  }

  /** Where the buffers of requests in flight lie, as they were found when the state was loaded. */
  get mapped(): readonly (readonly RamSlice[])[] {
    return this.#mapped;
  }

  /**
   * Maps the buffers of requests in flight, as QEMU's virtio-blk does while it reads such a request from
   * the stream (`virtqueue_map`; its vhost-user-blk leaves them to the backend's process). To look a
   * buffer up takes the view as it is now: inside of a memory transaction this forces the pending commit.
   */
  override loaded(): void {
    const { reader, ram } = this.surroundings;
    if (this.requests.length > 0) {
      const who = `${this.name}: maps the buffers of its requests in flight`;
      const view = reader.read(this.pci.busMaster, who);
      this.#mapped = this.requests.map(({ segments }) =>
        segments.map(({ address, length }) => ram().at(view, address, length, who))
      );
    }
    super.loaded();
  }

  /** What its state consists of. */
  describe(): Description<BlockDevice> {
    return description({
      name: "vhost-user-blk",
      version: 1,
      fields: virtioFields(this),
      subsections: [REQUESTS],
      postLoad: (state: BlockDevice) => state.loaded(),
    });
  }
}

const SEGMENT: Description<Segment> = description({
  name: "virtio-blk/segment",
  version: 1,
  fields: { address: safeU64, length: u32, writable: bool },
});

const REQUEST: Description<Request> = description({
  name: "virtio-blk/request",
  version: 1,
  fields: {
    queue: u16,
    head: u16,
    segmentCount: u32,
    segments: counted(struct(SEGMENT), "segmentCount", MOST_SEGMENTS),
  },
});

const REQUESTS: Description<BlockDevice> = description({
  name: "vhost-user-blk/requests",
  version: 1,
  fields: { requestCount: u32, requests: counted(struct(REQUEST), "requestCount", MOST_REQUESTS) },
  needed: (state: BlockDevice) => state.requests.length > 0,
});
