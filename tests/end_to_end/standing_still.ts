/** A guest that reads all its memory on the main thread, in a process that can be ended. */

import { assertEquals } from "@std/assert";
import { within } from "../support/deadline.ts";
import { ScriptProcess } from "../support/processes.ts";
import {
  STANDING_PAGES,
  STANDING_STRIDE,
  type StandingOptions,
  type StandingStep,
} from "./standing_process.ts";

/**
 * Sees that every page comes while the destination's event loop stands still. A deadline runs from one
 * step of the other process to the next; when it has passed, that process is killed.
 *
 * @returns how many pages the destination asked for
 */
export async function assertMainThreadServed(options: StandingOptions): Promise<number> {
  const args = [JSON.stringify(options)];
  await using process = new ScriptProcess("tests/end_to_end/standing_process.ts", args);
  let steps = 0;
  const next = async (what: string): Promise<StandingStep> => {
    let earlier = steps++;
    const find = (line: string) => earlier-- > 0 ? undefined : JSON.parse(line) as StandingStep;
    const step = await process.line(what, find);
    if (step !== undefined) return step;
    const { code, signal, errors } = await process.ended;
    throw new Error(`The process ended with ${signal ?? code} before ${what}: ${errors}`);
  };
  let what = "the guest to start";
  for (let page = STANDING_PAGES - 1; page >= 0; page -= STANDING_STRIDE) {
    assertEquals(await next(what), { step: "reading", page });
    what = `pages ${page} to ${page - STANDING_STRIDE + 1} for the main thread, which waits`;
  }
  assertEquals(await next(what), { step: "read", wrong: 0 });
  const end = await next("the migration to complete");
  if (end.step !== "completed") throw new Error(`Step out of turn: ${JSON.stringify(end)}`);
  const { code, errors } = await within("the process to end", process.ended);
  assertEquals([code, errors], [0, ""]);
  return end.requests;
}
