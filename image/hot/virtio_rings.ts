/** Where the rings of virtio devices lie, by the state that QEMU keeps of them. */

import { readU32, readU64 } from "../../migration/protocol/byte_order.ts";

/** A ring of a device, all of it physical addresses. */
export interface VirtioRing {
  /** What the guest has for the device: its head, of which both read and write the index. */
  readonly available: number;
  /** What the device is through with. */
  readonly used: number;
  /** The descriptors; absent when they do not lie right before `available`, where Linux and most others put them. */
  readonly descriptors?: { readonly start: number; readonly length: number };
}

/** Of its name in the stream: type, length, name, version (docs/protocol.md section 1.4). */
const SUBSECTION = "\x05\x11virtio/virtqueues\x00\x00\x00\x01";
const RING_BYTES = 16;
/** QEMU has a place for so many in every device's state, most of them empty (VIRTIO_QUEUE_MAX). */
const MOST_RINGS = 1024;
const DESCRIPTOR_BYTES = 16;
/** Descriptors of a ring (virtio 1.2, section 2.7). */
const MOST_DESCRIPTORS = 32_768;
/** A count, an address. */
const QUEUE_BYTES = 12;
/** A device's state without its rings is some 300 bytes. */
const MOST_SEARCHED = 65_536;

/**
 * Finds the rings of all virtio devices.
 *
 * @param state sections of devices, of any kind
 */
export function virtioRings(state: Uint8Array): VirtioRing[] {
  const rings: VirtioRing[] = [];
  let behind = 0;
  for (let at = indexOf(state, SUBSECTION, 0); at >= 0; at = indexOf(state, SUBSECTION, behind)) {
    rings.push(...ringsOf(state, at, Math.max(behind, at - MOST_SEARCHED)));
    behind = at + SUBSECTION.length;
  }
  return rings;
}

/**
 * Reads the rings of one device.
 *
 * @param at where the part begins that tells of them
 * @param searched where in front of that the device may begin
 */
function ringsOf(state: Uint8Array, at: number, searched: number): Iterable<VirtioRing> {
  const rings = new Map<number, VirtioRing>();
  const start = at + SUBSECTION.length;
  const end = Math.min(state.length, start + MOST_RINGS * RING_BYTES);
  for (let from = start; from + RING_BYTES <= end; from += RING_BYTES) {
    const available = readU64(state, from);
    if (available !== 0) rings.set(available, { available, used: readU64(state, from + 8) });
  }
  // The descriptors are told of before, behind what buses and devices write: found by where they must lie.
  for (let from = searched; from + QUEUE_BYTES <= at; from++) {
    const count = readU32(state, from);
    if (count < 1 || count > MOST_DESCRIPTORS) continue;
    const length = count * DESCRIPTOR_BYTES;
    const descriptors = readU64(state, from + 4);
    const ring = rings.get(descriptors + length);
    if (ring !== undefined) {
      rings.set(ring.available, { ...ring, descriptors: { start: descriptors, length } });
    }
  }
  return rings.values();
}

/** Where a text of single bytes is, from an index on; -1 when it is not there. */
function indexOf(bytes: Uint8Array, text: string, from: number): number {
  const first = text.charCodeAt(0);
  for (let at = bytes.indexOf(first, from); at >= 0; at = bytes.indexOf(first, at + 1)) {
    let length = 1;
    while (length < text.length && bytes[at + length] === text.charCodeAt(length)) length++;
    if (length === text.length) return at;
  }
  return -1;
}
