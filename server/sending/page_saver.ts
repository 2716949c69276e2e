/** How the pages of a channel get into its batches. */

import type { PageRecords } from "./page_records.ts";

/**
 * What can be done next: save a page; send the batch, because it takes no more or the migration is to stop;
 * wait until {@linkcode PageSaver.wakeFd} is signalled, and ask again.
 */
export type NextAct = "save" | "send" | "wait";

/**
 * Puts the pages that a thread has claimed into the batches that it sends: zero pages as such, the
 * others as they are or compressed. A page may go into a later batch than the one it was saved in.
 */
export interface PageSaver {
  /** Pages on their way to a batch: claimed, copied from the guest, and in none yet. */
  readonly outstanding: number;
  /** Eventfd that is signalled when what was to be waited for is there; -1 when nothing ever is. */
  readonly wakeFd: number;
  /** Makes sure that another page can be saved. */
  prepare(): NextAct;
  /** Takes a page as it is now, after {@linkcode PageSaver.prepare} said that it can. */
  save(page: number): void;
  /**
   * Adds the pages on their way to the batch, as many as fit.
   *
   * @returns false when it must be waited for one of them: then to be called again
   */
  settle(): boolean;
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
  /** None: nothing is waited for. */
  readonly wakeFd = -1;

  prepare(): NextAct {
    return this.#records.full ? "send" : "save";
  }

  save(page: number): void {
    this.#records.add(page);
  }

  settle(): boolean {
    return true;
  }

  sent(): void {}
}
