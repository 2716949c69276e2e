/** What a migration moves, as its two ends see it: a machine with memory, a state, and threads. */

import type { GuestBlock } from "./memory/guest_block.ts";
import type { MemoryCore } from "./address_space/memory_core.ts";

/** The guest's memory at the destination: any thread may touch it once the guest is loaded; missing pages are fetched. */
export interface GuestMemory {
  /** All blocks, in the order of the stream. */
  readonly blocks: readonly GuestBlock[];
}

/** Devices whose state is saved and loaded with a migration: see `Devices` of migration/device. */
export interface GuestDevices {
  /**
   * Returns the state of all devices.
   *
   * @param firstId section id of the first; the others follow
   * @returns SECTION_FULL elements with footers
   */
  save(firstId: number): Uint8Array;
  /**
   * Describes what {@linkcode GuestDevices.save} returns, as QEMU's VMDESCRIPTION does.
   *
   * @param targetPageSize bytes
   * @returns JSON
   */
  describe(targetPageSize: number): string;
  /**
   * Loads the state of all devices.
   *
   * @throws when something in it does not fit
   */
  load(sections: Uint8Array): void;
}

/** A guest that consists of devices, and whose memory map they change. */
export interface GuestMachine {
  /** The devices, the same ones at both ends. */
  readonly devices: GuestDevices;
  /** The memory map: at the destination all devices are loaded in one transaction of it. */
  readonly memory: MemoryCore;
  /**
   * Does what devices have put off until that transaction ended, because it takes the new memory map.
   *
   * @throws when something in the state does not fit the memory
   */
  finishLoad?(): void;
}

/**
 * A guest at the destination. Its methods are called once each, in the order `load`, `start`,
 * `stop`. What `load` throws ends the migration: a live source then lets the guest go on there. When
 * `start` is called the source has been told that the guest is loaded, and will not run it again:
 * whatever can fail belongs into `load`.
 */
export interface Guest {
  /** The machine whose devices the destination loads once {@linkcode Guest.load} has returned. */
  readonly machine?: GuestMachine;
  /**
   * Takes the device state, or with a {@linkcode Guest.machine} takes note of where the memory lies.
   * The memory may be touched: pages that are missing are fetched.
   *
   * @param deviceState what the source saved: the bytes of {@linkcode LiveGuest.save}, or the
   * non-iterable sections of a machine of QEMU's
   * @param memory where the RAM blocks lie; valid until the destination is closed
   */
  load(deviceState: Uint8Array, memory: GuestMemory): void | Promise<void>;
  /** Runs the guest from here on. */
  start(): void | Promise<void>;
  /** Stops the guest; its memory may vanish when this returns. */
  stop(): void | Promise<void>;
}

/** A guest that runs at the source while its memory is being sent. */
export interface LiveGuest {
  /** The machine whose devices' state migrates, in sections of their own, in place of `save`'s. */
  readonly machine?: GuestMachine;
  /** Stops the guest: once this has resolved nothing writes to its memory. The downtime begins here. */
  stop(): void | Promise<void>;
  /** Returns the state beside the memory, of any form; the destination's guest gets the same bytes. */
  save(): Uint8Array | Promise<Uint8Array>;
  /** Lets the guest go on here: the migration failed or was cancelled after it had been stopped. */
  resume(): void | Promise<void>;
}
