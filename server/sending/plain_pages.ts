/** Pages without compression. */

import type { PageRecords } from "./page_records.ts";
import type { PageSaver } from "./page_saver.ts";

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
