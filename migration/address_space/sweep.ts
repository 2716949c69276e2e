/** Who is on top at each address. */

import type { FlatRange } from "./flat_view.ts";
import type { MemoryRegion } from "./memory_region.ts";

/** Pieces of an address space that may overlap, the topmost first; one index for all. */
export interface Pieces {
  /** Whose they are. */
  readonly regions: MemoryRegion[];
  /** Address of the first byte. */
  readonly starts: number[];
  /** Address after the last byte. */
  readonly ends: number[];
  /** Address at which the region itself begins, or would. */
  readonly bases: number[];
}

/**
 * Returns what is seen of the pieces from above, sorted by address; adjacent ranges of a region with
 * continuing offsets as one. Takes O(n log n).
 */
export function sweep({ regions, starts, ends, bases }: Pieces): FlatRange[] {
  const ranges: FlatRange[] = [];
  const order = byStart(starts);
  // The pieces at the address reached, the topmost first; those that ended go when they surface.
  const open = new Heap();
  // The range that grows: it ends where something else is seen.
  let region: MemoryRegion | undefined;
  let base = 0;
  let start = 0;
  let end = 0;
  let next = 0;
  let at = 0;
  for (;;) {
    while (open.size > 0 && ends[open.least]! <= at) open.drop();
    if (open.size === 0) {
      if (next === order.length) break;
      at = starts[order[next]!]!;
    }
    while (next < order.length && starts[order[next]!] === at) open.add(order[next++]!);
    const top = open.least;
    let until = ends[top]!;
    // Only a piece from higher up ends it before; others wait, or are gone when it ends.
    while (next < order.length && starts[order[next]!]! < until) {
      if (order[next]! < top) until = starts[order[next]!]!;
      else open.add(order[next++]!);
    }
    if (regions[top] !== region || bases[top] !== base || at !== end) {
      if (region !== undefined) {
        ranges.push({ start, length: end - start, region, offset: start - base });
      }
      region = regions[top]!;
      base = bases[top]!;
      start = at;
    }
    end = until;
    at = until;
  }
  if (region !== undefined) {
    ranges.push({ start, length: end - start, region, offset: start - base });
  }
  return ranges;
}

/** Returns the indices of numbers in the order of the numbers. */
function byStart(starts: readonly number[]): number[] {
  // Mostly in runs up or down, which the sort takes in linear time.
  return starts.map((_, index) => index).sort((a, b) => starts[a]! - starts[b]!);
}

/** A binary heap of numbers with the least on top. */
class Heap {
  readonly #items: number[] = [];

  get size(): number {
    return this.#items.length;
  }

  /** The least; there must be one. */
  get least(): number {
    return this.#items[0]!;
  }

  add(item: number): void {
    const items = this.#items;
    let at = items.length;
    items.push(item);
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      if (items[parent]! <= item) break;
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = item;
  }

  /** Removes the least; there must be one. */
  drop(): void {
    const items = this.#items;
    const item = items.pop()!;
    if (items.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && items[child + 1]! < items[child]!) child++;
      if (items[child]! >= item) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = item;
  }
}
