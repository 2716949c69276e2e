/** The guest's side of queues: memory for rings and buffers, and what the driver writes there. */

import type { AddressSpace } from "../../migration/address_space/address_space.ts";
import type { RandomNumbers } from "../page_order.ts";
import type { GuestRam, RamSlice } from "./guest_ram.ts";
import { MachineError } from "./machine_error.ts";
import { ringBytes } from "./options.ts";
import { layOut } from "./ring_cache.ts";
import { DESCRIPTOR_BYTES, DESCRIPTOR_FLAGS } from "./ring_walk.ts";
import type { VirtioQueue } from "./virtio_queue.ts";

/** Chains that a driver has offered when it has set a queue up: at least one. */
const MOST_CHAINS = 8;
const MOST_BUFFERS = 4;
const MOST_BYTES = 4096;

/** Guest memory that a driver may use. */
export class RingMemory {
  readonly #ranges: { start: number; end: number }[];
  /** What the driver's choices are made from. */
  readonly random: RandomNumbers;
  #turn = 0;

  /**
   * @param ranges guest addresses of RAM
   * @param random what the driver's choices are made from
   */
  constructor(
    ranges: readonly { readonly start: number; readonly end: number }[],
    random: RandomNumbers,
  ) {
    this.#ranges = ranges.map((range) => ({ ...range })).filter(({ start, end }) => start < end);
    this.random = random;
  }

  /**
   * Takes memory for good; in turn from each range, so that rings lie in all of them.
   *
   * @param length bytes
   * @throws {MachineError} `BAD_OPTIONS` when none is left
   */
  take(length: number): number {
    for (let i = 0; i < this.#ranges.length; i++) {
      const range = this.#ranges[this.#turn++ % this.#ranges.length]!;
      // Half of it stays for buffers.
      if (range.end - range.start < 2 * length) continue;
      const { start } = range;
      range.start += length;
      return start;
    }
    throw new MachineError("BAD_OPTIONS", "No memory is left for rings: give the machine more RAM");
  }

  /** Chooses memory for a buffer: what rings do not use. */
  buffer(length: number): number {
    const { random } = this;
    const { start, end } = this.#ranges[random.below(this.#ranges.length)]!;
    return Math.floor((start + end) / 2) + random.below(Math.floor((end - start) / 2) - length);
  }
}

/** A driver of queues. */
export class RingDriver {
  readonly #space: AddressSpace;
  readonly #ram: GuestRam;
  readonly #memory: RingMemory;

  /**
   * @param space what the guest sees
   * @param ram the machine's RAM
   * @param memory what the driver may use of it
   */
  constructor(space: AddressSpace, ram: GuestRam, memory: RingMemory) {
    this.#space = space;
    this.#ram = ram;
    this.#memory = memory;
  }

  /** Sets a queue up, with some chains offered that the device has not taken. */
  setUp(queue: VirtioQueue): void {
    const { random } = this.#memory;
    const { size } = queue;
    Object.assign(queue, layOut(size, this.#memory.take(ringBytes(size).total)));
    queue.enabled = true;
    // A queue that has been used for a while: indices go on from any number, and wrap.
    queue.lastAvailable = random.below(2 ** 16);
    const available = this.#at(queue.available, 4);
    const used = this.#at(queue.used, 4);
    used.data.setUint16(used.offset + 2, queue.lastAvailable, true);
    let descriptor = 0;
    let index = queue.lastAvailable;
    const chains = 1 + random.below(Math.min(MOST_CHAINS, Math.floor(size / 2)));
    for (let chain = 0; chain < chains; chain++) {
      const room = size - descriptor - (chains - chain - 1);
      const buffers = 1 + random.below(Math.min(MOST_BUFFERS, room));
      this.#writeChain(queue, descriptor, buffers);
      writeHead(available, size, index, descriptor);
      index = (index + 1) & 0xffff;
      descriptor += buffers;
    }
    available.data.setUint16(available.offset + 2, index, true);
  }

  /** Offers a chain again that the device has done with. */
  offer(queue: VirtioQueue, head: number): void {
    const available = this.#at(queue.available, 4);
    const { data, offset } = available;
    const index = data.getUint16(offset + 2, true);
    writeHead(available, queue.size, index, head);
    data.setUint16(offset + 2, (index + 1) & 0xffff, true);
  }

  #writeChain(queue: VirtioQueue, head: number, buffers: number): void {
    const { random } = this.#memory;
    for (let i = 0; i < buffers; i++) {
      const number = head + i;
      const length = 1 + random.below(MOST_BYTES);
      const address = this.#memory.buffer(length);
      const flags = (i + 1 < buffers ? DESCRIPTOR_FLAGS.NEXT : 0) |
        (random.below(2) === 0 ? 0 : DESCRIPTOR_FLAGS.WRITE);
      const at = queue.descriptors + DESCRIPTOR_BYTES * number;
      const { data, offset } = this.#at(at, DESCRIPTOR_BYTES);
      data.setUint32(offset, address >>> 0, true);
      data.setUint32(offset + 4, Math.floor(address / 2 ** 32), true);
      data.setUint32(offset + 8, length, true);
      data.setUint16(offset + 12, flags, true);
      data.setUint16(offset + 14, number + 1, true);
    }
  }

  #at(address: number, length: number): RamSlice {
    return this.#ram.at(this.#space.flatView(), address, length, "driver");
  }
}

function writeHead({ data, offset }: RamSlice, size: number, index: number, head: number): void {
  data.setUint16(offset + 4 + 2 * (index & (size - 1)), head, true);
}
