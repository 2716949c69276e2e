/** Address spaces that show the same, found without looking at all of it. */

import type { MemoryRegion } from "./memory_region.ts";

/**
 * Returns the region deepest in the tree that shows all that a region does, at the same addresses;
 * undefined when nothing is shown. The address space of a device, a container with an alias of all
 * memory, has the same as the memory's own.
 */
export function viewRoot(region: MemoryRegion): MemoryRegion | undefined {
  let root: MemoryRegion | undefined = region;
  for (;;) {
    if (root === undefined || !root.enabled) return undefined;
    const target: MemoryRegion | undefined = root.target;
    if (target !== undefined) {
      // A window on a part cuts off what lies beyond it; one on all of it begins at 0.
      if (root.size !== target.size) return root;
      root = target;
    } else {
      if (root.kind !== "container") return root;
      const first: MemoryRegion | undefined = root.children.find((child) => child.enabled);
      if (first !== undefined) {
        const another = root.children.some((child) => child.enabled && child !== first);
        if (another || first.address !== 0) return root;
      }
      root = first;
    }
  }
}
