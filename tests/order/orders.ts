/** Orders for tests. */

import type { PageRun } from "../../server/order/page_run.ts";
import type { Random } from "../support/random.ts";

/** Runs of pages anywhere in the blocks, none of which comes twice. */
export interface RandomOrder {
  readonly runs: readonly Required<Pick<PageRun, "block" | "offset" | "length">>[];
  /** Pages in them. */
  readonly pages: number;
}

/**
 * Makes one of as many runs, or fewer where they meet others.
 *
 * @param blocks pages of each, by name
 */
export function randomOrder(
  random: Random,
  blocks: Readonly<Record<string, number>>,
  count: number,
): RandomOrder {
  const taken = new Set<string>();
  const runs: { block: string; offset: number; length: number }[] = [];
  let pages = 0;
  for (let run = 0; run < count; run++) {
    const [block, limit] = random.pick(Object.entries(blocks));
    const first = random.below(limit);
    const length = Math.min(limit - first, random.oneIn(3) ? random.between(1, 9) : 1);
    const names = Array.from({ length }, (_, index) => `${block} ${first + index}`);
    if (names.some((name) => taken.has(name))) continue;
    for (const name of names) taken.add(name);
    runs.push({ block, offset: first * 4096, length: length * 4096 });
    pages += length;
  }
  return { runs, pages };
}

/** The pages of runs, as `block page`, in order. */
export function pagesOf(runs: Iterable<PageRun>): string[] {
  return [...runs].flatMap(({ block, offset, length = 4096 }) =>
    Array.from({ length: length / 4096 }, (_, index) => `${block} ${offset / 4096 + index}`)
  );
}
