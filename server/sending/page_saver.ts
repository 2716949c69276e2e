/** How the pages of a channel get into its batches. */

import type { PageRecords } from "./page_records.ts";

/**
 * What can be done next: save a page; send the batch, because it takes no more or the migration is to stop;
 * wait until {@linkcode PageSaver.wakeFd} is signalled, and ask again.
 */
export type NextAct = "save" | "send" | "wait";

/**
 * The channels of multifd, for a saver whose pages go there and not into the batch: that is sent when it is full,
 * or when a round ends, and then it has the mark of that.
 */
export interface Beside {
  /** Bytes of pages that were saved and did not go into a batch. */
  readonly bytes: number;
  /** Pages with content among them. */
  readonly pages: number;
  /** Bytes that were sent there and that the destination's host has not acknowledged. */
  readonly unacknowledged: number;
  /** Whether the batch is to be sent as it is: it says that a round ends. */
  readonly marked: boolean;
  /** Whether any batch that is sent says so, whatever is in it. */
  readonly marksAll: boolean;
  /** Has the batch say so once it is settled, whatever was sent since the last that did. */
  mark(): void;
}

/**
 * Puts the pages that a thread has claimed into the batches that it sends: zero pages as such, the
 * others as they are or compressed. A page may go into a later batch than the one it was saved in.
 */
export interface PageSaver {
  /** Pages on their way to a batch: claimed, copied from the guest, and in none yet. */
  readonly outstanding: number;
  /** Eventfd that is signalled when what was to be waited for is there; -1 when nothing ever is. */
  readonly wakeFd: number;
  /** Where its pages go, if not into the batch. */
  readonly beside?: Beside;
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
