/** The map of a source's memory. */

import { CellGrid, type MemoryMap } from "../../migration/memory/memory_map.ts";
import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";

/** By page numbers of the layout. */
export interface SourcePages {
  /** What no sender has claimed. */
  readonly dirty: PageBitmap;
  /** What the image holds; undefined: all. */
  readonly present: PageBitmap | undefined;
  /** What was asked for so far; undefined where that is not noted. */
  readonly asked: PageBitmap | undefined;
}

/**
 * Draws the map. What the image does not hold is absent, whether or not somebody asked for it.
 *
 * @throws {RangeError} for a number of cells that cannot be
 */
export function sourceMap(layout: RamLayout, pages: SourcePages, cells: number): MemoryMap {
  const { dirty, present, asked } = pages;
  const grid = new CellGrid(layout, cells);
  const all = grid.pages();
  const held = present === undefined ? all : grid.count(present);
  const touched = asked === undefined ? grid.none() : grid.count(asked);
  // Pages are sent meanwhile: of those counted as unsent no more can be waited for.
  const unsent = grid.count(dirty, present);
  const waiting = asked === undefined ? grid.none() : grid.count(dirty, asked);
  const requested = waiting.map((count, cell) => Math.min(count, unsent[cell]!));
  return grid.map({
    missing: unsent.map((count, cell) => count - requested[cell]!),
    requested,
    sent: held.map((count, cell) => count - unsent[cell]!),
    absent: all.map((count, cell) => count - held[cell]!),
    asked: touched,
  });
}
