/** The check of every byte of a guest's memory against what it must be. */

import { TestPattern, type TestPatternSettings } from "../../migration/memory/test_pattern.ts";
import { GuestPages, type PageRange } from "./guest_pages.ts";
import { findDifference, writtenWord, type WrongByte, wrongByte } from "./written_page.ts";

/** A part of a guest's memory to check; may be posted to a worker. */
export interface CheckJob {
  /** What the memory was made from. */
  readonly pattern: TestPatternSettings;
  /** Where the memory is. */
  readonly ranges: readonly PageRange[];
  /** An int32 for each page: writes to it. */
  readonly writes: SharedArrayBuffer;
  /** First page to check. */
  readonly from: number;
  /** One more than the last. */
  readonly to: number;
}

/** What a check found. */
export interface CheckResult {
  /** Pages checked. */
  readonly pages: number;
  /** Pages with a wrong byte. */
  readonly wrongPages: number;
  /** The first wrong byte. */
  readonly first?: WrongByte;
}

/** Checks every byte of the pages of a job; waits for those that are missing. */
export function checkPages(job: CheckJob): CheckResult {
  const memory = new GuestPages(job.ranges);
  const pattern = new TestPattern(job.pattern);
  const writes = new Int32Array(job.writes);
  let wrongPages = 0;
  let first: WrongByte | undefined;
  for (let page = job.from; page < job.to; page++) {
    memory.locate(page);
    const base = pattern.base(page);
    const index = findDifference(memory.words, memory.start, base, page, writes[page]!);
    if (index < 0) continue;
    wrongPages++;
    first ??= wrongByte(
      page,
      index,
      writtenWord(base, page, index, writes[page]!),
      memory.words[memory.start + index]!,
    );
  }
  const result = { pages: job.to - job.from, wrongPages };
  return first === undefined ? result : { ...result, first };
}

/** Puts the results of ascending parts of a memory together. */
export function joinChecks(parts: readonly CheckResult[]): CheckResult {
  let pages = 0;
  let wrongPages = 0;
  for (const part of parts) {
    pages += part.pages;
    wrongPages += part.wrongPages;
  }
  const first = parts.find((part) => part.first !== undefined)?.first;
  return first === undefined ? { pages, wrongPages } : { pages, wrongPages, first };
}
