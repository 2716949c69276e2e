/** Runs of pages that the destination has and must forget. */

import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamBlock, RamLayout } from "../../migration/memory/ram_layout.ts";
import type { DiscardRange } from "../../migration/protocol/command.ts";
import { type DiscardCommand, discardCommands } from "../../migration/protocol/discard.ts";

/**
 * Makes host pages dirty as a whole where a part of them is: after the switchover each is placed by
 * one system call, and so sent in full (docs/protocol.md section 3, host-page rules).
 */
export function roundToHostPages(layout: RamLayout, dirty: PageBitmap): void {
  for (const { firstPage, pageCount, pagesPerHostPage } of layout.blocks) {
    if (pagesPerHostPage === 1) continue;
    const end = firstPage + pageCount;
    for (let page = dirty.next(firstPage, end); page >= 0;) {
      const first = page - (page - firstPage) % pagesPerHostPage;
      dirty.fill(first, pagesPerHostPage);
      const behind = first + pagesPerHostPage;
      page = behind < end ? dirty.next(behind, end) : -1;
    }
  }
}

/**
 * Discards what the destination has and what was written since, and takes note that it has it no more.
 *
 * @param layout the blocks
 * @param dirty pages to be sent again, by whole host pages
 * @param sent pages that the destination has in some version; those discarded are removed
 * @returns none when there is nothing to forget
 */
export function discardStale(
  layout: RamLayout,
  dirty: PageBitmap,
  sent: PageBitmap,
): DiscardCommand[] {
  return layout.blocks.flatMap((block) => {
    const ranges = staleRanges(block, layout.targetPageSize, dirty, sent);
    return discardCommands(block.name, ranges);
  });
}

function staleRanges(
  block: RamBlock,
  targetPageSize: number,
  dirty: PageBitmap,
  sent: PageBitmap,
): DiscardRange[] {
  const { firstPage, pageCount, pagesPerHostPage: step } = block;
  const end = firstPage + pageCount;
  const ranges: DiscardRange[] = [];
  let runStart = -1;
  let runEnd = -1;
  const close = (): void => {
    if (runStart < 0) return;
    const start = (runStart - firstPage) * targetPageSize;
    ranges.push({ start, length: (runEnd - runStart) * targetPageSize });
    sent.clear(runStart, runEnd - runStart);
  };
  for (let page = dirty.next(firstPage, end); page >= 0;) {
    const first = page - (page - firstPage) % step;
    const behind = first + step;
    if (hasAny(sent, first, behind)) {
      if (first !== runEnd) {
        close();
        runStart = first;
      }
      runEnd = behind;
    }
    // Nothing to forget up to the next page that was sent: without precopy that is all of it at once.
    const sentNext = behind < end ? sent.next(behind, end) : -1;
    page = sentNext < 0 ? -1 : dirty.next(sentNext - (sentNext - firstPage) % step, end);
  }
  close();
  return ranges;
}

function hasAny(bitmap: PageBitmap, from: number, to: number): boolean {
  return to - from === 1 ? bitmap.has(from) : bitmap.next(from, to) >= 0;
}
