/** A map of a migration's memory: how many pages of each part of it are where. */

import type { PageBitmap } from "./page_bitmap.ts";
import type { RamLayout } from "./ram_layout.ts";

/** Most cells that a map is asked for. */
export const MOST_CELLS = 65_536;

/** Where a block's cells are in a {@linkcode MemoryMap}. */
export interface MapBlock {
  /** The block's name. */
  readonly name: string;
  /** Its target pages. */
  readonly pages: number;
  /** Index of its first cell. */
  readonly "first-cell": number;
  /** How many cells it has. */
  readonly cells: number;
}

/**
 * Counts of target pages, each list with an element a cell. A page is missing, requested, sent or absent, and
 * counts once.
 */
export interface MemoryMap {
  /** Bytes of a target page. */
  readonly "page-size": number;
  /** Pages of a cell; the last one of a block may have fewer. */
  readonly "pages-per-cell": number;
  /** The blocks, in the order of the stream. A cell belongs to one of them. */
  readonly blocks: readonly MapBlock[];
  /** Neither sent nor asked for. */
  readonly missing: readonly number[];
  /** Asked for, and not sent yet. */
  readonly requested: readonly number[];
  /** Sent, or received. */
  readonly sent: readonly number[];
  /** Not in the image, which never held them: zeros. */
  readonly absent: readonly number[];
  /** Of all of these, asked for so far: what the guest was seen to touch. */
  readonly asked: readonly number[];
}

/** Draws a map in 1 to 65536 cells, of how it is now. */
export type DrawMap = (cells: number) => MemoryMap;

/** The cells of a map. */
export class CellGrid {
  /** Pages of a cell. */
  readonly pagesPerCell: number;
  /** Where the blocks are. */
  readonly blocks: readonly MapBlock[];
  readonly #layout: RamLayout;
  readonly #cells: number;

  /**
   * Divides memory into cells of as many pages each.
   *
   * @param layout the blocks
   * @param cells how many; as each block begins one, there may be one more for each
   * @throws {RangeError} for a number that cannot be
   */
  constructor(layout: RamLayout, cells: number) {
    if (!Number.isInteger(cells) || cells < 1 || cells > MOST_CELLS) {
      throw new RangeError(`Cells of a map must be 1 to ${MOST_CELLS}: ${cells}`);
    }
    this.#layout = layout;
    this.pagesPerCell = Math.max(1, Math.ceil(layout.pageCount / cells));
    let next = 0;
    this.blocks = layout.blocks.map(({ name, pageCount }) => {
      const first = next;
      const count = Math.ceil(pageCount / this.pagesPerCell);
      next += count;
      return { name, pages: pageCount, "first-cell": first, cells: count };
    });
    this.#cells = next;
  }

  /**
   * Counts in each cell the bits that are set.
   *
   * @param bitmap by the layout's page numbers
   * @param within counts only what is set there too
   */
  count(bitmap: PageBitmap, within?: PageBitmap): number[] {
    const counts = this.none();
    this.#layout.blocks.forEach(({ firstPage, pageCount }, index) => {
      const at = this.blocks[index]!["first-cell"];
      bitmap.countCells(firstPage, pageCount, this.pagesPerCell, counts, at, within);
    });
    return counts;
  }

  /** Pages of each cell. */
  pages(): number[] {
    return this.blocks.flatMap(({ pages, cells }) =>
      Array.from(
        { length: cells },
        (_, cell) => Math.min(this.pagesPerCell, pages - cell * this.pagesPerCell),
      )
    );
  }

  /** Zero for each cell. */
  none(): number[] {
    return new Array<number>(this.#cells).fill(0);
  }

  /** A map of counts in these cells. */
  map(counts: Omit<MemoryMap, "page-size" | "pages-per-cell" | "blocks">): MemoryMap {
    return {
      "page-size": this.#layout.targetPageSize,
      "pages-per-cell": this.pagesPerCell,
      blocks: this.blocks,
      ...counts,
    };
  }
}
