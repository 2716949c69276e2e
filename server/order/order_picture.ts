/** A picture of an order: when which part of memory is touched. */

import { formatBytes, formatCount } from "../../migration/report/units.ts";
import type { RamBlock } from "../../migration/memory/ram_layout.ts";
import type { OwnedOrder } from "../../image/order/order_codec.ts";
import { IDLE_SINKS } from "../../image/order/order_list.ts";

/** How large a picture is. */
export interface PictureSize {
  /** Lines of a block: parts of the order, each of as many pages. */
  readonly rows: number;
  /** Characters of a line: parts of the block, each of as many bytes. */
  readonly columns: number;
}

const SIZE: PictureSize = { rows: 10, columns: 64 };
/** None, up to a quarter, half, three quarters, all of the most that a character has. */
const SHADES = " ░▒▓█";

/**
 * Draws an order: for each block that has pages in it where they lie, from the left to the right, and when they are
 * touched, from the top to the bottom.
 *
 * @returns lines without line ends
 */
export function orderPicture(order: OwnedOrder, size: PictureSize = SIZE): string[] {
  const { layout, list: { pages, idle } } = order;
  const bytes = formatBytes(pages.length * layout.targetPageSize);
  const sunk = idle.reduce((sum, each) => sum + (each >= IDLE_SINKS ? 1 : 0), 0);
  const head = `${formatCount(pages.length)} pages, ${bytes}`;
  const lines = [sunk === 0 ? head : `${head}; ${formatCount(sunk)} of them no longer asked for`];
  const counts = layout.blocks.map((block) => countCells(block, pages, size));
  // One scale for all blocks, so that what is dark in one is as much as in another.
  const most = counts.reduce((most, cells) => Math.max(most, ...cells), 0);
  layout.blocks.forEach((block, index) => {
    const cells = counts[index]!;
    const total = cells.reduce((sum, count) => sum + count, 0);
    if (total === 0) return;
    const length = formatBytes(block.usedLength);
    lines.push("", `${block.name}, ${length}: ${formatCount(total)} pages`);
    lines.push(...blockLines(cells, most, pages.length, size));
  });
  return lines;
}

/** Counts a block's pages by part of the order and part of the block. */
function countCells(
  { firstPage, pageCount }: RamBlock,
  pages: Int32Array,
  { rows, columns }: PictureSize,
): Float64Array {
  const cells = new Float64Array(rows * columns);
  for (let place = 0; place < pages.length; place++) {
    const page = pages[place]! - firstPage;
    if (page < 0 || page >= pageCount) continue;
    const row = Math.floor(place * rows / pages.length);
    const column = Math.floor(page * columns / pageCount);
    cells[row * columns + column]!++;
  }
  return cells;
}

function blockLines(
  cells: Float64Array,
  most: number,
  pages: number,
  { rows, columns }: PictureSize,
): string[] {
  const width = formatCount(pages).length;
  return Array.from({ length: rows }, (_, row) => {
    const first = Math.ceil(row * pages / rows) + 1;
    const last = Math.ceil((row + 1) * pages / rows);
    if (last < first) return undefined; // fewer pages than lines
    const shades = Array.from(
      cells.subarray(row * columns, (row + 1) * columns),
      (count) => SHADES[Math.ceil(count / most * (SHADES.length - 1))],
    );
    const [from, to] = [first, last].map((place) => formatCount(place).padStart(width));
    return `${from} - ${to} |${shades.join("")}|`;
  }).filter((line) => line !== undefined);
}
