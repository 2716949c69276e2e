/** What a power cut would leave of a file: whatever was not synced may be on the disk or not. */

import { assert } from "@std/assert";
import { Buffer } from "node:buffer";

/**
 * Watches a file that is really written. The kernel may put what was not synced onto the disk in any
 * order, or not at all: so at the moment when a file is made valid, all else must be as it was at the
 * last sync.
 */
export class PowerCut {
  #synced: Uint8Array | undefined;

  /** The file holds this, and a sync of it has just returned. */
  synced(file: Uint8Array): void {
    this.#synced = file;
  }

  /**
   * Sees that all of a file is on the disk.
   *
   * @param file what it holds
   * @param what what is about to happen, for the message
   */
  assertAllSynced(file: Uint8Array, what: string): void {
    assert(this.#synced !== undefined, `Nothing was synced before ${what}`);
    assert(
      Buffer.compare(this.#synced, file) === 0,
      `What was written after the last sync may be missing: ${what}`,
    );
  }
}
