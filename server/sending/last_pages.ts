/** Knowing that no page is left to claim, for a sender that others help. */

import type { PageWalk } from "./page_walk.ts";
import type { SourceState } from "./source_state.ts";

/** Most nanoseconds for which to wait without a look whether pages are left. */
export const LONGEST_NAP = 500e6;

/** Looks whether pages are left; only when requests may have changed that. */
export class LastPages {
  readonly #walk: PageWalk;
  readonly #state: SourceState;
  #seen = 0;
  #left = true;

  /**
   * @param walk over the pages
   * @param state counts those that were sent because they were asked for
   */
  constructor(walk: PageWalk, state: SourceState) {
    this.#walk = walk;
    this.#state = state;
  }

  /** Whether the walk has a page left, as far as requests have claimed them. */
  get left(): boolean {
    // Counted when they were sent, so they had been claimed before the look at what is left.
    const { pages, zeroPages } = this.#state.urgent;
    if (this.#seen === pages + zeroPages) return this.#left;
    this.#seen = pages + zeroPages;
    this.#left = this.#walk.find() >= 0;
    return this.#left;
  }
}
