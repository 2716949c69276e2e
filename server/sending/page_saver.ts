/** How the pages of a channel get into its batches. */

import type { PageRecords } from "./page_records.ts";

/**
 * Puts the pages that a thread has claimed into the batches that it sends: zero pages as such, the
 * others as they are or compressed. A page may go into a later batch than the one it was saved in.
 */
export interface PageSaver {
  /** Pages on their way to a batch: claimed, copied from the guest, and in none yet. */
  readonly outstanding: number;
  /**
   * Makes sure that another page can be saved; may wait for it.
   *
   * @returns false when the batch must be sent first, or the migration is to stop
   */
  prepare(): boolean;
  /** Takes a page as it is now, after {@linkcode PageSaver.prepare} said that it can. */
  save(page: number): void;
  /** Waits for the pages on their way and adds them to the batch, as many as fit. */
  settle(): void;
  /** The batch was sent: the memory that its pages lay in may be used again. */
  sent(): void;
}

/** Sends every page that is not zero as it is, straight from where it lies. */
export class PlainPages implements PageSaver {
  readonly #records: PageRecords;

  /** @param records the channel's batch */
  constructor(records: PageRecords) {
    this.#records = records;
  }

  /** Always 0: a page is in the batch at once. */
  readonly outstanding = 0;

  prepare(): boolean {
    return !this.#records.full;
  }

  save(page: number): void {
    this.#records.add(page);
  }

  settle(): void {}
  sent(): void {}
}
