/** The check of a whole guest, on as many threads as there are cores. */

import { inParts } from "./parts.ts";
import { type CheckedPart, type CheckJob, type CheckResult, joinChecks } from "./check.ts";
import type { CrewMemory } from "./crew.ts";

const CHECK_WORKER = new URL("./check_worker.ts", import.meta.url);

/**
 * Checks every byte of a memory that nobody changes meanwhile; waits for pages that are missing.
 *
 * @param writes how many writes its pages must show together; undefined where the counts did not move
 */
export async function checkMemory(memory: CrewMemory, writes?: number): Promise<CheckResult> {
  const { pattern: { settings: pattern }, ranges, pages: { buffers } } = memory;
  const pages = ranges.reduce((sum, range) => sum + range.pages, 0);
  const parts = await inParts<CheckJob, CheckedPart>(
    CHECK_WORKER,
    pages,
    (from, to) => ({ pattern, ranges, writes: buffers.writes, from, to }),
  );
  const { writes: found, ...result } = joinChecks(parts);
  return writes === undefined ? result : { ...result, writes: { expected: writes, found } };
}
