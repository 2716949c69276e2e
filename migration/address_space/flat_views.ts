/** The flat views of a machine, each built once for all address spaces that show it. */

import type { Changes } from "./changes.ts";
import { EMPTY_VIEW, FlatView } from "./flat_view.ts";
import type { MemoryRegion } from "./memory_region.ts";
import type { MemoryStatistics } from "./memory_core.ts";
import { flatEvents } from "./region_event.ts";
import { render } from "./render.ts";
import type { SpaceView } from "./space_view.ts";
import { viewRoot } from "./view_root.ts";

/** Builds flat views, and keeps them for as long as they are true. */
export class FlatViews {
  /** By what {@linkcode viewRoot} returned. */
  readonly #kept = new WeakMap<MemoryRegion, FlatView>();

  /**
   * Gives address spaces that are not up to date their new views. One that cannot be built leaves its
   * address space as it was, and pending.
   *
   * @param changes what has changed
   * @param statistics where rebuilds are counted
   * @param errors takes the errors
   * @returns the address spaces that have new views
   */
  update(changes: Changes, statistics: MemoryStatistics, errors: unknown[]): SpaceView[] {
    const { regions, events, spaces } = changes.take();
    for (const region of regions) this.#kept.delete(region);
    for (const region of events) {
      const view = this.#kept.get(region);
      if (view !== undefined) this.#kept.set(region, withEvents(view.ranges));
    }
    const updated: SpaceView[] = [];
    for (const space of spaces) {
      try {
        space.view = this.#viewOf(space.root, statistics);
        updated.push(space);
      } catch (error) {
        changes.keep(space);
        errors.push(error);
      }
    }
    return updated;
  }

  #viewOf(region: MemoryRegion, statistics: MemoryStatistics): FlatView {
    const root = viewRoot(region);
    if (root === undefined) return EMPTY_VIEW;
    const kept = this.#kept.get(root);
    if (kept !== undefined) return kept;
    const view = withEvents(render(root));
    statistics.rebuilds++;
    // Not for an alias: what it shows is noted to have changed only while somebody uses it.
    if (root.kind !== "alias") this.#kept.set(root, view);
    return view;
  }
}

function withEvents(ranges: FlatView["ranges"]): FlatView {
  return new FlatView(ranges, flatEvents(ranges));
}
