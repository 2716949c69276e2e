/** The check of every byte of a guest's memory against what it must be. */

import { PATTERN_PAGE_BYTES, type TestPatternSettings } from "./test_pattern.ts";
import { GuestPages, type PageRange } from "./guest_pages.ts";
import { viewCounts, type WriteCounts } from "./shared_pages.ts";
import { WrittenPattern, type WrongByte, wrongByte } from "./written_page.ts";

/** A part of a guest's memory to check; may be posted to a worker. */
export interface CheckJob {
  /** What the memory was made from. */
  readonly pattern: TestPatternSettings;
  /** Where the memory is. */
  readonly ranges: readonly PageRange[];
  /** Writes to each page. */
  readonly writes: WriteCounts;
  /** First page to check. */
  readonly from: number;
  /** One more than the last. */
  readonly to: number;
}

/** What the check of a part found. */
export interface CheckedPart {
  /** Pages checked. */
  readonly pages: number;
  /** Pages with a wrong byte. */
  readonly wrongPages: number;
  /** The first wrong byte. */
  readonly first?: WrongByte;
  /** Writes to all of the pages, by their counts. */
  readonly writes: number;
}

/** What a check found. */
export interface CheckResult extends Omit<CheckedPart, "writes"> {
  /**
   * Writes that the guest did to all pages, and those that its memory shows. Only for a guest whose
   * counts moved with its pages: a page and its count that are both of some time before agree.
   */
  readonly writes?: { readonly expected: number; readonly found: number };
}

/** Reports whether a check of so many pages found nothing wrong. */
export function isAllRight(check: CheckResult, pages: number): boolean {
  const { writes } = check;
  return check.wrongPages === 0 && check.pages === pages &&
    (writes === undefined || writes.found === writes.expected);
}

/** Checks every byte of the pages of a job; waits for those that are missing. */
export function checkPages(job: CheckJob): CheckedPart {
  const memory = new GuestPages(job.ranges);
  const pattern = new WrittenPattern(job.pattern);
  const counts = viewCounts(job.writes);
  let wrongPages = 0;
  let writes = 0;
  let first: WrongByte | undefined;
  for (let page = job.from; page < job.to; page++) {
    memory.locate(page);
    const count = counts[page]!;
    writes += count >>> 0;
    const index = pattern.findDifference(memory.words, memory.start, page, count);
    if (index < 0) continue;
    wrongPages++;
    first ??= wrongByte(
      page,
      index,
      pattern.word(page, index, count),
      memory.words[memory.start + index]!,
    );
  }
  const last = job.to === memory.count ? findCount(counts, memory.count) : undefined;
  if (last !== undefined) wrongPages++;
  first ??= last;
  const result = { pages: job.to - job.from, wrongPages, writes };
  return first === undefined ? result : { ...result, first };
}

/** Puts the results of ascending parts of a memory together. */
export function joinChecks(parts: readonly CheckedPart[]): CheckedPart {
  let pages = 0;
  let wrongPages = 0;
  let writes = 0;
  for (const part of parts) {
    pages += part.pages;
    wrongPages += part.wrongPages;
    writes += part.writes;
  }
  const first = parts.find((part) => part.first !== undefined)?.first;
  const joined = { pages, wrongPages, writes };
  return first === undefined ? joined : { ...joined, first };
}

/**
 * Finds a byte that is not zero behind the counts of all pages. The pages of the counts are numbered
 * after those of the pattern.
 */
function findCount(counts: Int32Array, pages: number): WrongByte | undefined {
  for (let index = pages; index < counts.length; index++) {
    if (counts[index] === 0) continue;
    const countsPerPage = PATTERN_PAGE_BYTES / 4;
    const page = pages + Math.floor(index / countsPerPage);
    return wrongByte(page, index % countsPerPage, 0, counts[index]!);
  }
  return undefined;
}
