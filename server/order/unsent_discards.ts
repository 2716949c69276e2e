/** What a destination is told to forget when pages went before its guest: all the others. */

import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamBlock, RamLayout } from "../../migration/memory/ram_layout.ts";
import type { DiscardRange } from "../../migration/protocol/command.ts";
import { type DiscardCommand, discardCommands } from "../../migration/protocol/discard.ts";

/**
 * Discards every page that was not sent. A QEMU needs that: until its first discard it may have made a huge page
 * of zeros around each page that came, and a neighbour that is there is never asked for.
 *
 * @param layout the blocks
 * @param dirty pages that were not sent, by whole host pages
 */
export function unsentDiscards(layout: RamLayout, dirty: PageBitmap): DiscardCommand[] {
  return layout.blocks.flatMap((block) =>
    discardCommands(block.name, unsentRanges(block, layout.targetPageSize, dirty))
  );
}

function unsentRanges(
  { firstPage, pageCount }: RamBlock,
  pageBytes: number,
  dirty: PageBitmap,
): DiscardRange[] {
  const end = firstPage + pageCount;
  const ranges: DiscardRange[] = [];
  for (let page = dirty.next(firstPage, end); page >= 0;) {
    const next = page + 1 < end ? dirty.nextClear(page, end) : -1;
    const behind = next < 0 ? end : next;
    ranges.push({ start: (page - firstPage) * pageBytes, length: (behind - page) * pageBytes });
    page = next < 0 ? -1 : dirty.next(next, end);
  }
  return ranges;
}
