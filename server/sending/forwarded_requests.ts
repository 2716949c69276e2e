/** The modes in which the background sender sends what was asked for. */

import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import type { TaskPoll } from "../../migration/threads/task.ts";
import type { BackgroundRequests, Progress, RequestedPages } from "./requested_pages.ts";
import type { RequestQueue } from "./request_queue.ts";
import type { SourceState } from "./source_state.ts";

/** Host pages that a step looks at: some 20 us. */
const STEP_PAGES = 1024;
/** Nanoseconds between two looks at a ring that is full: its consumer tells nobody when it takes something. */
const RING_INTERVAL = 1e6;

/** Takes requests to the background sender, page by page. */
export class ForwardedRequests implements RequestedPages {
  readonly queue: RequestQueue;
  readonly #poll: TaskPoll;
  readonly #state: SourceState;
  readonly #layout: RamLayout;
  readonly #dirty: PageBitmap;
  readonly #background: BackgroundRequests;

  /**
   * @param queue what was asked for
   * @param poll the task's
   * @param state of the migration
   * @param layout the blocks
   * @param dirty the pages that nobody has claimed
   * @param background where requests go
   */
  constructor(
    queue: RequestQueue,
    poll: TaskPoll,
    state: SourceState,
    layout: RamLayout,
    dirty: PageBitmap,
    background: BackgroundRequests,
  ) {
    this.queue = queue;
    this.#poll = poll;
    this.#state = state;
    this.#layout = layout;
    this.#dirty = dirty;
    this.#background = background;
  }

  get idle(): boolean {
    return this.queue.empty;
  }

  step(): Progress {
    const { queue } = this;
    let left = STEP_PAGES;
    while (!queue.empty) {
      const { end } = queue;
      const { pagesPerHostPage } = this.#layout.blockOf(queue.page);
      let { page } = queue;
      let full = false;
      for (; page < end && left > 0; page += pagesPerHostPage, left--) {
        full = !this.#forward(page);
        if (full) break;
      }
      queue.page = page;
      this.#background.wake();
      if (full) {
        // The ring holds more than any guest can ask for at once; only a hostile peer fills it.
        this.#poll.sleep(RING_INTERVAL);
        return "waiting";
      }
      if (page < end) return "more";
      this.#state.setLocality(end - 1);
      queue.drop();
    }
    return "done";
  }

  /** The background sender ends its channels itself. */
  end(): void {}

  [Symbol.dispose](): void {}

  /** @returns false when there is no room for the page */
  #forward(page: number): boolean {
    if (this.#dirty.has(page)) return this.#background.push(page);
    // On its way; and nobody empties the ring at the end.
    this.#background.hasten(page);
    return true;
  }
}
