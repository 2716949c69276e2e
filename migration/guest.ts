/** What a migration moves, as its two ends see it: a machine with memory, a state, and threads. */

import type { GuestBlock } from "./memory/guest_block.ts";

/** The guest's memory at the destination: any thread may touch it once the guest is loaded; missing pages are fetched. */
export interface GuestMemory {
  /** All blocks, in the order of the stream. */
  readonly blocks: readonly GuestBlock[];
}

/**
 * A guest at the destination. Its methods are called once each, in the order `load`, `start`,
 * `stop`. What `load` throws ends the migration: a live source then lets the guest go on there. When
 * `start` is called the source has been told that the guest is loaded, and will not run it again:
 * whatever can fail belongs into `load`.
 */
export interface Guest {
  /**
   * Takes the device state. The memory may be touched: pages that are missing are fetched.
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
  /** Stops the guest: once this has resolved nothing writes to its memory. The downtime begins here. */
  stop(): void | Promise<void>;
  /** Returns the state beside the memory, of any form; the destination's guest gets the same bytes. */
  save(): Uint8Array | Promise<Uint8Array>;
  /** Lets the guest go on here: the migration failed or was cancelled after it had been stopped. */
  resume(): void | Promise<void>;
}
