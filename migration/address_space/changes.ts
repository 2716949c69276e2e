/** Which address spaces can see what has changed since the last commit. */

import type { MemoryRegion } from "./memory_region.ts";
import type { SpaceView } from "./space_view.ts";

/** What has changed: what is seen where, or only I/O events. */
export type Change = "view" | "events";

/** What is to be brought up to date. */
export interface Pending {
  /** Regions that look different from outside. */
  readonly regions: ReadonlySet<MemoryRegion>;
  /** Regions that show different events; all else may be as it was. */
  readonly events: ReadonlySet<MemoryRegion>;
  /** Address spaces that can see some of them. */
  readonly spaces: ReadonlySet<SpaceView>;
}

const NONE: ReadonlySet<MemoryRegion> = new Set();

/**
 * Knows who sees a region, and notes those who see a change.
 *
 * A region noted once is not looked at again before the next commit, because all who see it are noted
 * too: whoever comes to see it later does so by a change to a region above, or is a new address space.
 * That makes a thousand changes to a bus cost little more than one.
 */
export class Changes {
  readonly #aliases = new WeakMap<MemoryRegion, Set<MemoryRegion>>();
  readonly #roots = new WeakMap<MemoryRegion, Set<SpaceView>>();
  #noted = { view: new Set<MemoryRegion>(), events: new Set<MemoryRegion>() };
  #spaces = new Set<SpaceView>();

  /** Whether an address space does not show what it should. */
  get pending(): boolean {
    return this.#spaces.size > 0;
  }

  /** Reports whether an address space does not show what it should. */
  has(space: SpaceView): boolean {
    return this.#spaces.has(space);
  }

  /** Hands over what is pending: from now on nothing is. */
  take(): Pending {
    const pending = {
      regions: this.#noted.view,
      events: this.#noted.events,
      spaces: this.#spaces,
    };
    this.#noted = { view: new Set(), events: new Set() };
    this.#spaces = new Set();
    return pending;
  }

  /** Notes that an address space still does not show what it should. */
  keep(space: SpaceView): void {
    this.#spaces.add(space);
  }

  /** Notes all who see that a region has changed. Nobody sees one that is disabled. */
  note(region: MemoryRegion, change: Change): void {
    if (!region.enabled) return;
    const noted = this.#noted[change];
    noted.add(region);
    const waiting = [region];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      for (const space of this.#roots.get(next) ?? []) this.#spaces.add(space);
      if (next.parent !== undefined) this.#visit(next.parent, noted, waiting);
      for (const alias of this.aliasesOf(next)) this.#visit(alias, noted, waiting);
    }
  }

  /** The aliases of a region that are used themselves. */
  aliasesOf(region: MemoryRegion): ReadonlySet<MemoryRegion> {
    return this.#aliases.get(region) ?? NONE;
  }

  /** To be called when a region was put in a container. */
  link(region: MemoryRegion): void {
    // Only aliases in use are known to their targets, so that others can be collected as garbage.
    for (let alias = region; alias.target !== undefined; alias = alias.target) {
      const known = this.#aliases.get(alias.target);
      if (known === undefined) this.#aliases.set(alias.target, new Set([alias]));
      else if (known.has(alias)) return;
      else known.add(alias);
    }
  }

  /** To be called when a region was taken out of its container. */
  unlink(region: MemoryRegion): void {
    for (let alias = region; alias.target !== undefined; alias = alias.target) {
      if (this.#isUsed(alias)) return;
      this.#aliases.get(alias.target)?.delete(alias);
    }
  }

  /** Notes a new address space, which shows nothing yet. */
  addSpace(space: SpaceView): void {
    const known = this.#roots.get(space.root);
    if (known === undefined) this.#roots.set(space.root, new Set([space]));
    else known.add(space);
    this.link(space.root);
    this.#spaces.add(space);
  }

  /** Forgets an address space. */
  removeSpace(space: SpaceView): void {
    this.#roots.get(space.root)?.delete(space);
    this.#spaces.delete(space);
    this.unlink(space.root);
  }

  #visit(region: MemoryRegion, noted: Set<MemoryRegion>, waiting: MemoryRegion[]): void {
    if (!region.enabled || noted.has(region)) return;
    noted.add(region);
    waiting.push(region);
  }

  #isUsed(region: MemoryRegion): boolean {
    return region.parent !== undefined || this.aliasesOf(region).size > 0 ||
      (this.#roots.get(region)?.size ?? 0) > 0;
  }
}
