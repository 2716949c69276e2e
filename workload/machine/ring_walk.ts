/** What a queue's rings say: the chains of descriptors that the driver has offered. */

import type { FlatView } from "../../migration/address_space/flat_view.ts";
import type { GuestRam } from "./guest_ram.ts";
import { MachineError } from "./machine_error.ts";
import type { VirtioQueue } from "./virtio_queue.ts";

/** Bytes of a descriptor. */
export const DESCRIPTOR_BYTES = 16;

/** Flags of a descriptor (virtio 1.2, 2.7.5). */
export const DESCRIPTOR_FLAGS = { NEXT: 1, WRITE: 2 } as const;

/** A buffer in guest memory. */
export interface Buffer {
  /** Guest address. */
  readonly address: number;
  /** Bytes. */
  readonly length: number;
  /** Whether the device writes to it. */
  readonly writable: boolean;
  /** RAM block that it lies in. */
  readonly block: string;
  /** Where in the block, in bytes. */
  readonly offset: number;
}

/** A chain of descriptors. */
export interface Chain {
  /** Number of its first descriptor. */
  readonly head: number;
  /** Its buffers. */
  readonly buffers: readonly Buffer[];
}

/** What lies in a queue's rings. */
export interface RingContents {
  /** Up to where the driver has offered. */
  readonly availableIndex: number;
  /** Up to where the device has done. */
  readonly usedIndex: number;
  /** What the device has not done with: taken or not, the oldest first. */
  readonly chains: readonly Chain[];
}

/**
 * Reads a queue's rings through its cache.
 *
 * @param view of the device's address space, where its buffers lie
 * @throws {MachineError} `BAD_RING` for rings that cannot be followed
 */
export function walkRing(queue: VirtioQueue, view: FlatView, ram: GuestRam): RingContents {
  const availableIndex = queue.availableIndex();
  const usedIndex = queue.usedIndex();
  const chains: Chain[] = [];
  const first = (queue.lastAvailable - queue.inUse) & 0xffff;
  for (let index = first; index !== availableIndex; index = (index + 1) & 0xffff) {
    if (chains.length === queue.size) throw bad(queue, "offers more chains than it has", index);
    const head = queue.headAt(index);
    chains.push({ head, buffers: readChain(queue, head, view, ram) });
  }
  return { availableIndex, usedIndex, chains };
}

/**
 * Reads a chain of descriptors.
 *
 * @throws {MachineError} `BAD_RING` for one that cannot be followed, `NO_MEMORY_THERE` for a buffer
 * outside of RAM
 */
export function readChain(
  queue: VirtioQueue,
  head: number,
  view: FlatView,
  ram: GuestRam,
): Buffer[] {
  const buffers: Buffer[] = [];
  const { data, offset: table } = queue.cache!.descriptors;
  for (let number = head;;) {
    if (number >= queue.size) throw bad(queue, "has a chain with no such descriptor", number);
    if (buffers.length === queue.size) throw bad(queue, "has a chain that is a circle", head);
    const at = table + DESCRIPTOR_BYTES * number;
    const address = data.getUint32(at + 4, true) * 2 ** 32 + data.getUint32(at, true);
    const length = data.getUint32(at + 8, true);
    const flags = data.getUint16(at + 12, true);
    const { block, offset } = ram.at(view, address, length, queue.name);
    const writable = (flags & DESCRIPTOR_FLAGS.WRITE) !== 0;
    buffers.push({ address, length, writable, block, offset });
    if ((flags & DESCRIPTOR_FLAGS.NEXT) === 0) return buffers;
    number = data.getUint16(at + 14, true);
  }
}

function bad({ name }: VirtioQueue, what: string, value: number): MachineError {
  return new MachineError(
    "BAD_RING",
    `Ring of ${name} ${what}: ${value}: the memory is not what its driver wrote`,
  );
}
