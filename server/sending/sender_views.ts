/** What a sending thread makes of its first message. */

import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { RamLayout } from "../../migration/memory/ram_layout.ts";
import { Ring } from "../../migration/threads/ring.ts";
import { PageLocator } from "../../pages/page_locator.ts";
import { REQUEST_RING_CAPACITY, type SenderInit } from "./sender_init.ts";
import { SourceState } from "./source_state.ts";

/** One thread's own views of what all sending threads of a migration share. */
export class SenderViews {
  /** Flags and counters. */
  readonly state: SourceState;
  /** The blocks. */
  readonly layout: RamLayout;
  /** Pages that nobody has claimed. */
  readonly dirty: PageBitmap;
  /** Where the pages lie. */
  readonly locator: PageLocator;
  /** Pages that wait for the background sender. */
  readonly requests: Ring;

  /** @param init what the control plane prepared */
  constructor(init: SenderInit) {
    this.state = new SourceState(init.state);
    this.layout = new RamLayout(init.blocks, init.targetPageSize);
    this.dirty = new PageBitmap(this.layout.pageLimit, init.dirty);
    this.locator = new PageLocator(init.pages);
    this.requests = new Ring(REQUEST_RING_CAPACITY, 1, init.requests);
  }
}
