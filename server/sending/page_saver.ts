/** How the pages of a channel get into its batches. */

import { CompressedPages } from "./compressing_pages.ts";
import type { PageRecords } from "./page_records.ts";
import { PlainPages } from "./plain_pages.ts";
import type { SenderInit } from "./sender_init.ts";
import type { SourceState } from "./source_state.ts";

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

/** Makes the saver of a main channel, as the migration was asked for. */
export function pageSaver(init: SenderInit, records: PageRecords, state: SourceState): PageSaver {
  const { compression, targetPageSize } = init;
  if (compression === undefined) return new PlainPages(records);
  return new CompressedPages(records, compression, targetPageSize, state.compression);
}
