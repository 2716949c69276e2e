/** The check that no region contains itself. */

import type { MemoryRegion } from "./memory_region.ts";
import { MemoryRegionError } from "./memory_region_error.ts";

/**
 * Checks that a container can take a region in.
 *
 * Two searches go in turns, down from the region and up from the container, and the first to end
 * decides: a small device goes into a tree of thousands, and an alias of such a tree into a small
 * container, in a few steps each.
 *
 * @returns how many steps it took, for tests
 * @throws {MemoryRegionError} when the region shows the container, through containers and aliases
 */
export function checkNoCycle(container: MemoryRegion, region: MemoryRegion): number {
  // Aliases that nobody uses are not known to their targets: the search up sees only those below here.
  let top = region;
  while (top.target !== undefined) top = top.target;
  const down = new Search(top, shownBy);
  const up = new Search(container, showing);
  for (let steps = 1;; steps++) {
    const below = down.next();
    const above = up.next();
    if (below === container || above === top) throw cycle(container, region);
    if (below === undefined || above === undefined) return steps;
  }
}

function* shownBy({ target, children }: MemoryRegion): Generator<MemoryRegion> {
  if (target !== undefined) yield target;
  yield* children;
}

function* showing(region: MemoryRegion): Generator<MemoryRegion> {
  if (region.parent !== undefined) yield region.parent;
  yield* region.core.changes.aliasesOf(region);
}

/** A search in depth, one region a step. */
class Search {
  readonly #neighbours: (region: MemoryRegion) => Generator<MemoryRegion>;
  readonly #seen = new Set<MemoryRegion>();
  /** What is left at each level. A region may have thousands of neighbours: they are taken one by one. */
  readonly #left: Iterator<MemoryRegion>[];

  constructor(from: MemoryRegion, neighbours: (region: MemoryRegion) => Generator<MemoryRegion>) {
    this.#neighbours = neighbours;
    this.#left = [[from].values()];
  }

  /** Returns a region, perhaps one that it returned before; undefined after the last. */
  next(): MemoryRegion | undefined {
    for (let level = this.#left.at(-1); level !== undefined; level = this.#left.at(-1)) {
      const { done, value } = level.next();
      if (done) {
        this.#left.pop();
        continue;
      }
      if (!this.#seen.has(value)) {
        this.#seen.add(value);
        this.#left.push(this.#neighbours(value));
      }
      return value;
    }
    return undefined;
  }
}

function cycle(container: MemoryRegion, region: MemoryRegion): MemoryRegionError {
  const through = region.kind === "alias" ? `, an alias of ${region.target!.name},` : "";
  return new MemoryRegionError(
    "CYCLE",
    `Region ${region.name}${through} put in ${container.name} would contain itself: ` +
      `take out the alias that shows ${container.name} first`,
    [region.name, container.name],
  );
}
