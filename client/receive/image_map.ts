/** The map of an image that is being received. */

import { CellGrid, type DrawMap } from "../../migration/memory/memory_map.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { RamLayout } from "../../migration/memory/ram_layout.ts";
import type { SharedImage } from "./image_memory.ts";

/** Makes what draws the map of an image: nobody asks for its pages, as its guest does not run here. */
export function imageMap({ machine, came }: SharedImage): DrawMap {
  const layout = new RamLayout(
    machine.blocks.map(({ name, usedLength }) => ({ name, usedLength })),
    machine.targetPageSize,
  );
  const received = new PageBitmap(layout.pageLimit, came);
  return (cells) => {
    const grid = new CellGrid(layout, cells);
    const sent = grid.count(received);
    const none = grid.none();
    return grid.map({
      missing: grid.pages().map((pages, cell) => pages - sent[cell]!),
      requested: none,
      sent,
      absent: none,
      asked: none,
    });
  };
}
