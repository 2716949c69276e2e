/** Filling a guest's memory with the pattern, before it runs. */

import { TestPattern, type TestPatternSettings } from "./test_pattern.ts";
import { viewMemory } from "../ffi/memory.ts";
import type { CrewMemory } from "./crew.ts";
import { GuestPages, type PageRange } from "./guest_pages.ts";
import { inParts } from "./parts.ts";
import type { CountRange } from "./shared_pages.ts";

const FILL_WORKER = new URL("./fill_worker.ts", import.meta.url);

/** A part of a guest's memory to fill; may be posted to a worker. */
export interface FillJob {
  /** What it is made from. */
  readonly pattern: TestPatternSettings;
  /** Where the memory is. */
  readonly ranges: readonly PageRange[];
  /** First page to fill. */
  readonly from: number;
  /** One more than the last. */
  readonly to: number;
}

/** Writes every word of the pages of a job, the zero pages too: a guest has all of its memory. */
export function fillPages({ pattern: settings, ranges, from, to }: FillJob): void {
  const memory = new GuestPages(ranges);
  const pattern = new TestPattern(settings);
  for (let page = from; page < to; page++) {
    memory.locate(page);
    pattern.expectedPage(page, memory.words, memory.start);
  }
}

/** Fills a memory, and makes the counts of its writes zero. */
export async function fillMemory(
  { pattern, ranges }: CrewMemory,
  counts: CountRange,
): Promise<void> {
  const { settings } = pattern;
  const pages = ranges.reduce((sum, range) => sum + range.pages, 0);
  const job = (from: number, to: number): FillJob => ({
    pattern: settings,
    ranges,
    from,
    to,
  });
  await inParts<FillJob, number>(FILL_WORKER, pages, job);
  viewMemory(counts.address, counts.length).fill(0);
}
