/** A queue of a virtio device (virtio 1.2, 2.7 Split Virtqueues), the device's side. */

import {
  bool,
  type Description,
  description,
  safeU64,
  u16,
  u32,
} from "../../migration/device/mod.ts";
import type { FlatView } from "../../migration/address_space/flat_view.ts";
import type { GuestRam } from "./guest_ram.ts";
import { MachineError } from "./machine_error.ts";
import { RingCache } from "./ring_cache.ts";

/** Where indices are, behind a ring's flags. */
const INDEX = 2;
const RING = 4;
const USED_ELEMENT_BYTES = 8;

/** A queue: what the driver has set, how far the device is, and where its rings lie. */
export class VirtioQueue {
  /** Device and number. */
  readonly name: string;
  /** Its number in the device. */
  readonly index: number;
  /** Most descriptors that it can have. */
  readonly maximum: number;
  /** Descriptors. */
  size: number;
  /** Interrupt vector of the device. */
  vector = 0xffff;
  /** Whether the driver has set it up. */
  enabled = false;
  /** Guest address of the descriptor table; 0 before the driver has set it. */
  descriptors = 0;
  /** Guest address of the available ring. */
  available = 0;
  /** Guest address of the used ring. */
  used = 0;
  /** Index in the available ring of what the device takes next. */
  lastAvailable = 0;
  /** What the device has taken and not done with. */
  inUse = 0;
  #cache: RingCache | undefined;
  #builds = 0;

  /**
   * @param device name of its device
   * @param index its number there
   * @param maximum most descriptors
   */
  constructor(device: string, index: number, maximum: number) {
    this.name = `${device} queue ${index}`;
    this.index = index;
    this.maximum = maximum;
    this.size = maximum;
  }

  /** Where its rings lie; undefined before that was looked up. */
  get cache(): RingCache | undefined {
    return this.#cache;
  }

  /** Times that its rings were looked up. */
  get builds(): number {
    return this.#builds;
  }

  /**
   * Looks its rings up.
   *
   * @throws {MachineError} `BAD_RING` when they are not in RAM; it has no cache then
   */
  buildCache(view: FlatView, ram: GuestRam): void {
    this.#cache = undefined;
    this.#builds++;
    this.#cache = new RingCache(view, ram, this, this.name);
  }

  /** Forgets where its rings lie. */
  dropCache(): void {
    this.#cache = undefined;
  }

  /** Reports whether its rings are known to be where a view has them. */
  isCacheTrue(view: FlatView, ram: GuestRam): boolean {
    return this.#cache?.isTrue(view, ram, this, this.name) ?? false;
  }

  /**
   * Takes a state that was loaded; touches no memory.
   *
   * @throws {MachineError} `OTHER_MACHINE` for a size that it cannot have
   */
  loaded(): void {
    const { size, maximum } = this;
    if (size <= maximum && size > 0 && (size & (size - 1)) === 0) return;
    throw new MachineError(
      "OTHER_MACHINE",
      `Size of ${this.name} is no power of two up to ${maximum}: ${size}: load it into a machine ` +
        `with queues of the size it was saved with`,
    );
  }

  /**
   * Checks that the rings hold what a driver can have written.
   *
   * @throws {MachineError} `BAD_RING` when they do not
   */
  checkRings(): void {
    const offered = (this.availableIndex() - this.lastAvailable) & 0xffff;
    const taken = (this.lastAvailable - this.usedIndex()) & 0xffff;
    if (offered <= this.size && taken === this.inUse) return;
    throw new MachineError(
      "BAD_RING",
      `Rings of ${this.name} are not those of its state: the driver has offered ${offered} of ` +
        `${this.size} descriptors, and the device holds ${this.inUse} of ${taken} that it took: ` +
        `the memory is not of the same moment as the state`,
    );
  }

  /** Index up to which the driver has offered. */
  availableIndex(): number {
    const { data, offset } = this.#built().available;
    return data.getUint16(offset + INDEX, true);
  }

  /** Index up to which the device has done. */
  usedIndex(): number {
    const { data, offset } = this.#built().used;
    return data.getUint16(offset + INDEX, true);
  }

  /** The head of the chain that the driver has offered at an index. */
  headAt(index: number): number {
    const { data, offset } = this.#built().available;
    return data.getUint16(offset + RING + 2 * (index & (this.size - 1)), true);
  }

  /** Takes the next chain that the driver offers; returns its head, or undefined. */
  take(): number | undefined {
    if (this.availableIndex() === this.lastAvailable) return undefined;
    const head = this.headAt(this.lastAvailable);
    this.lastAvailable = (this.lastAvailable + 1) & 0xffff;
    this.inUse++;
    return head;
  }

  /**
   * Gives a chain back to the driver.
   *
   * @param head as {@linkcode VirtioQueue.take} returned it
   * @param length bytes written to its buffers
   */
  done(head: number, length: number): void {
    const { data, offset } = this.#built().used;
    const index = data.getUint16(offset + INDEX, true);
    const at = offset + RING + USED_ELEMENT_BYTES * (index & (this.size - 1));
    data.setUint32(at, head, true);
    data.setUint32(at + 4, length, true);
    data.setUint16(offset + INDEX, (index + 1) & 0xffff, true);
    this.inUse--;
  }

  #built(): RingCache {
    if (this.#cache !== undefined) return this.#cache;
    throw new MachineError(
      "STALE_CACHE",
      `Rings of ${this.name} used before they were looked up: start the machine first`,
    );
  }
}

/** The state of a queue. */
export const VIRTIO_QUEUE: Description<VirtioQueue> = description({
  name: "virtqueue_state",
  version: 1,
  fields: {
    size: u16,
    vector: u16,
    enabled: bool,
    descriptors: safeU64,
    available: safeU64,
    used: safeU64,
    lastAvailable: u16,
    inUse: u32,
  },
  postLoad: (state: VirtioQueue) => state.loaded(),
});
