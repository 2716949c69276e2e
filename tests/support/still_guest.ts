import { viewMemory } from "../../ffi/memory.ts";
import type { Guest, GuestMemory } from "../../migration/guest.ts";
import type { GuestBlock } from "../../migration/memory/guest_block.ts";

/** A guest without a processor: its memory arrives, and only what a test does touches it. */
export class StillGuest implements Guest {
  /** The blocks, once loaded. */
  blocks: readonly GuestBlock[] = [];
  /** The device state, once loaded. */
  deviceState: Uint8Array = new Uint8Array(0);
  /** Its methods, in the order they were called. */
  readonly calls: string[] = [];
  readonly #onStart: (guest: StillGuest) => void;

  /** @param onStart what it does when it is started, on the main thread */
  constructor(onStart: (guest: StillGuest) => void = () => {}) {
    this.#onStart = onStart;
  }

  load(deviceState: Uint8Array, memory: GuestMemory): void {
    this.calls.push("load");
    this.deviceState = deviceState;
    this.blocks = memory.blocks;
  }

  start(): void {
    this.calls.push("start");
    this.#onStart(this);
  }

  stop(): void {
    this.calls.push("stop");
  }

  /** The first block's memory as 32-bit words. */
  words(block = 0): Int32Array {
    const { address, length } = this.blocks[block]!;
    return new Int32Array(viewMemory(address, length).buffer);
  }
}
