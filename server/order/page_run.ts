/** Pages as a caller names them: by block and bytes, not by the numbers of a layout. */

import type { RamLayout } from "../../migration/memory/ram_layout.ts";

/** Pages of a RAM block that follow one another. */
export interface PageRun {
  /** The block's name. */
  readonly block: string;
  /** Bytes from the block's start. */
  readonly offset: number;
  /** Bytes; default one page. */
  readonly length?: number;
  /**
   * Whether they may be sent before the guest runs; default true. From the first run on that may not be, all
   * others are sent behind.
   */
  readonly early?: boolean;
}

/** The page numbers of a run. */
export interface NumberedRun {
  readonly first: number;
  readonly count: number;
  readonly early: boolean;
}

/**
 * Numbers the pages of a run, those that it only touches among them.
 *
 * @throws {RangeError} when it is not in a block of the layout
 */
export function numberRun(layout: RamLayout, run: PageRun): NumberedRun {
  const { targetPageSize } = layout;
  const { block: name, offset, length = targetPageSize, early = true } = run;
  const block = layout.find(name);
  if (block === undefined) {
    const known = layout.blocks.map(({ name }) => name).join(", ");
    throw new RangeError(`Order with pages of an unknown RAM block: ${name}: use ${known}`);
  }
  if (!(offset >= 0 && length > 0 && offset + length <= block.usedLength)) {
    throw new RangeError(
      `Order with pages outside RAM block ${name} of ${block.usedLength} bytes: ${length} at ${offset}`,
    );
  }
  const from = Math.floor(offset / targetPageSize);
  const count = Math.ceil((offset + length) / targetPageSize) - from;
  return { first: block.firstPage + from, count, early };
}

/**
 * Numbers the pages of runs.
 *
 * @throws {RangeError} when one is not in a block of the layout
 */
export function numberRuns(layout: RamLayout, runs: Iterable<PageRun>): number[] {
  const pages: number[] = [];
  for (const run of runs) {
    const { first, count } = numberRun(layout, run);
    for (let page = first; page < first + count; page++) pages.push(page);
  }
  return pages;
}

/**
 * Names pages by block and bytes, one run for those that follow one another.
 *
 * @param layout the blocks
 * @param pages page numbers, in order
 * @param early whether the page in a place may be sent before the guest runs
 */
export function* nameRuns(
  layout: RamLayout,
  pages: Int32Array,
  early: (place: number) => boolean = () => true,
): Generator<Required<PageRun>> {
  const { targetPageSize } = layout;
  for (let at = 0; at < pages.length;) {
    const { name, firstPage, pageCount } = layout.blockOf(pages[at]!);
    const offset = (pages[at]! - firstPage) * targetPageSize;
    const isEarly = early(at);
    const from = at++;
    while (
      at < pages.length && pages[at] === pages[at - 1]! + 1 &&
      pages[at]! < firstPage + pageCount && early(at) === isEarly
    ) at++;
    yield { block: name, offset, length: (at - from) * targetPageSize, early: isEarly };
  }
}
