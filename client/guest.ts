/** What runs behind a destination: the machine whose memory arrives. */

/** A RAM block of the guest, mapped at the destination. */
export interface GuestBlock {
  /** The block's name in the stream, for example `"pc.ram"`. */
  readonly name: string;
  /** Address of its first byte in this process. */
  readonly address: number;
  /** Bytes. */
  readonly length: number;
  /**
   * The memfd behind it, or -1 for anonymous memory. A second mapping is safe only once the migration
   * is completed: a touch of a missing page there is no fault here, and makes a zero page.
   */
  readonly fd: number;
}

/** The guest's memory: any thread may touch it once the guest is loaded; missing pages are fetched. */
export interface GuestMemory {
  /** All blocks, in the order of the stream. */
  readonly blocks: readonly GuestBlock[];
}

/**
 * A guest at the destination. Its methods are called once each, in the order `load`, `start`,
 * `stop`. What they throw ends the migration before `start` and is reported to the source.
 */
export interface Guest {
  /**
   * Takes the device state. The memory may be touched: pages that are missing are fetched.
   *
   * @param deviceState the non-iterable sections as the source sent them
   * @param memory where the RAM blocks lie; valid until the destination is closed
   */
  load(deviceState: Uint8Array, memory: GuestMemory): void | Promise<void>;
  /** Runs the guest from here on. */
  start(): void | Promise<void>;
  /** Stops the guest; its memory may vanish when this returns. */
  stop(): void | Promise<void>;
}
