/** From a tree of regions to what it looks like. */

import type { FlatRange } from "./flat_view.ts";
import type { MemoryRegion } from "./memory_region.ts";
import { MemoryRegionError } from "./memory_region_error.ts";
import { type Pieces, sweep } from "./sweep.ts";

/**
 * Most looks at a region in one flat view. Ten containers, each with ten aliases of the next, show the
 * last one 10^10 times; a real machine has some thousands.
 */
export const MOST_LOOKS: number = 2 ** 20;

/**
 * Returns what a region shows: sorted ranges without overlap. Takes O(n log n) for n regions, however
 * deep the tree.
 *
 * @throws {MemoryRegionError} when it takes more than {@linkcode MOST_LOOKS}
 */
export function render(root: MemoryRegion): FlatRange[] {
  const pieces = collect(root);
  return sweep(pieces);
}

/** Returns the parts of RAM and I/O regions that are in the tree, the topmost first. */
function collect(root: MemoryRegion): Pieces {
  const pieces: Pieces = { regions: [], starts: [], ends: [], bases: [] };
  // A stack of its own: the depth of the tree is not that of calls. What is pushed last is topmost.
  const regions = [root];
  const bases = [0];
  const lows = [0];
  const highs = [root.size];
  let looks = 0;
  for (let region = regions.pop(); region !== undefined; region = regions.pop()) {
    const base = bases.pop()!;
    const low = lows.pop()!;
    const high = highs.pop()!;
    if (!region.enabled) continue;
    looks += 1 + region.children.length;
    if (looks > MOST_LOOKS) throw tooMany(root, region);
    if (region.target !== undefined) {
      regions.push(region.target);
      // May be negative. The numbers stay exact: what is in the window is within 2^53 either way.
      bases.push(base - region.targetOffset);
      lows.push(low);
      highs.push(high);
    } else if (region.kind === "container") {
      for (const child of region.children) {
        const start = base + child.address;
        const from = start > low ? start : low;
        const end = start + child.size;
        const to = end < high ? end : high;
        if (from >= to || !child.enabled) continue;
        regions.push(child);
        bases.push(start);
        lows.push(from);
        highs.push(to);
      }
    } else {
      pieces.regions.push(region);
      pieces.starts.push(low);
      pieces.ends.push(high);
      pieces.bases.push(base);
    }
  }
  return pieces;
}

function tooMany(root: MemoryRegion, region: MemoryRegion): MemoryRegionError {
  return new MemoryRegionError(
    "TOO_MANY_REGIONS",
    `Flat view of ${root.name} takes more than ${MOST_LOOKS} looks at a region, the last at ` +
      `${region.name}: remove aliases that show each other's content many times`,
    [root.name, region.name],
  );
}
