/** What is done with requests, whatever the mode. */

import { signalEvent } from "../../ffi/eventfd.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import type { Ring } from "../../migration/threads/ring.ts";
import type { RequestQueue } from "./request_queue.ts";

/**
 * How far a step came: `"done"` with all requests; `"more"` is to be done after others had their turn;
 * `"waiting"` for what the task's poll was told.
 */
export type Progress = "done" | "more" | "waiting";

/** Does the mode's work for the pages that were asked for, in steps. */
export interface RequestedPages extends Disposable {
  /** What was asked for, to be filled by whoever reads the requests. */
  readonly queue: RequestQueue;
  /** True when all that was asked for is done. */
  readonly idle: boolean;
  /**
   * Goes on as far as it can without waiting, but no further than a step may.
   *
   * @param now monotonic nanoseconds
   * @param receivedAt when what is in the queue came
   * @throws {MigrationError} when the destination is gone or takes nothing
   */
  step(now: number, receivedAt: number): Progress;
  /** Everything was sent: has the channel that it was asked for on ended by the next steps, if that is to be. */
  end(): void;
}

/** The ring that takes requests to the background sender, seen from here. */
export class BackgroundRequests {
  readonly #ring: Ring;
  readonly #fd: number;
  readonly #huge: boolean;

  /**
   * @param ring its producer's end
   * @param fd eventfd that tells the background sender to look
   * @param layout the blocks
   */
  constructor(ring: Ring, fd: number, layout: RamLayout) {
    this.#ring = ring;
    this.#fd = fd;
    this.#huge = layout.hasHugePages;
  }

  /** Puts a page in; false when the ring is full. */
  push(page: number): boolean {
    return this.#ring.push(page);
  }

  /** Has the background sender look into the ring. */
  wake(): void {
    signalEvent(this.#fd);
  }

  /**
   * A huge page that is claimed may be only begun on the main channel: the background sender is told
   * that somebody waits for its rest. When the ring is full it has been told enough.
   */
  hasten(page: number): void {
    if (!this.#huge) return;
    this.push(page);
    this.wake();
  }
}
