/** Where a queue's rings lie, found once instead of at each access. */

import type { FlatRange, FlatView } from "../../migration/address_space/flat_view.ts";
import type { GuestRam, RamSlice } from "./guest_ram.ts";
import { MachineError } from "./machine_error.ts";
import { ringBytes } from "./options.ts";

/** Guest addresses of a queue's rings. */
export interface RingAddresses {
  /** Descriptors, a power of two. */
  readonly size: number;
  /** Guest address of the descriptor table. */
  readonly descriptors: number;
  /** Guest address of the ring of what the driver offers. */
  readonly available: number;
  /** Guest address of the ring of what the device has done with. */
  readonly used: number;
}

/** The three rings of a queue as a flat view showed them. */
export class RingCache {
  /** The descriptor table. */
  readonly descriptors: RamSlice;
  /** The available ring. */
  readonly available: RamSlice;
  /** The used ring. */
  readonly used: RamSlice;
  readonly #addresses: RingAddresses;
  readonly #ranges: readonly FlatRange[];

  /**
   * @param view of the device's address space
   * @param ram the machine's RAM
   * @param rings where they are
   * @param reader whose they are, for messages
   * @throws {MachineError} `BAD_RING` when a ring is not in RAM, in one piece
   */
  constructor(view: FlatView, ram: GuestRam, rings: RingAddresses, reader: string) {
    const find = (ring: string, address: number, length: number): RamSlice => {
      const slice = ram.find(view, address, length, reader);
      if (slice !== undefined) return slice;
      throw new MachineError(
        "BAD_RING",
        `The ${ring} of ${reader} is not in memory that the device can reach: ${length} bytes at ` +
          `0x${address.toString(16)}: load the state into a machine with the same memory`,
      );
    };
    const { descriptors, available, used } = ringParts(rings);
    this.descriptors = find("descriptor table", ...descriptors);
    this.available = find("available ring", ...available);
    this.used = find("used ring", ...used);
    this.#addresses = { ...rings };
    this.#ranges = view.ranges;
  }

  /** Reports whether the rings are where the cache has them. */
  isTrue(view: FlatView, ram: GuestRam, rings: RingAddresses, reader: string): boolean {
    const known = this.#addresses;
    if (
      known.size !== rings.size || known.descriptors !== rings.descriptors ||
      known.available !== rings.available || known.used !== rings.used
    ) return false;
    // The same ranges, so nothing has moved. Otherwise something has, perhaps elsewhere.
    if (view.ranges === this.#ranges) return true;
    const { descriptors, available, used } = ringParts(rings);
    return isAt(this.descriptors, ram.find(view, ...descriptors, reader)) &&
      isAt(this.available, ram.find(view, ...available, reader)) &&
      isAt(this.used, ram.find(view, ...used, reader));
  }
}

/** Addresses and bytes of a queue's rings. */
function ringParts(
  { size, descriptors, available, used }: RingAddresses,
): Record<"descriptors" | "available" | "used", [address: number, length: number]> {
  return {
    descriptors: [descriptors, 16 * size],
    available: [available, 6 + 2 * size],
    used: [used, 6 + 8 * size],
  };
}

function isAt(known: RamSlice, found: RamSlice | undefined): boolean {
  return found !== undefined && known.data === found.data && known.offset === found.offset;
}

/** Lays a queue's rings out one after the other. */
export function layOut(size: number, start: number): RingAddresses {
  const { available, used } = ringBytes(size);
  return { size, descriptors: start, available: start + available, used: start + used };
}
