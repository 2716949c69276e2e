/** Maps of memory that were just drawn, for all who look at the same session. */

import type { MemoryMap } from "../../migration/memory/memory_map.ts";

/** Milliseconds for which a map is good: whoever looks does so once a second. */
const GOOD = 250;

interface Drawn {
  readonly at: number;
  readonly map: MemoryMap | undefined;
}

/** A map of 1 TiB takes 50 ms of the main thread: it is drawn a few times a second at most, however many look. */
export class MapCache {
  readonly #drawn = new Map<string, Drawn>();
  readonly #now: () => number;

  /** @param now milliseconds, of a clock that a test may turn */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /**
   * Returns the map, which may be a quarter of a second old.
   *
   * @param draw draws it anew
   */
  get(
    id: string,
    cells: number,
    draw: (cells: number) => MemoryMap | undefined,
  ): MemoryMap | undefined {
    const now = this.#now();
    for (const [key, { at }] of this.#drawn) if (now - at >= GOOD) this.#drawn.delete(key);
    const key = `${cells} ${id}`;
    let drawn = this.#drawn.get(key);
    if (drawn === undefined) this.#drawn.set(key, drawn = { at: now, map: draw(cells) });
    return drawn.map;
  }
}
