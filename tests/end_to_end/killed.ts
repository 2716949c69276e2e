/** What a workload's destination did when one end was killed. */

import { assertEquals, assertMatch } from "@std/assert";
import { within } from "../support/deadline.ts";
import type { WorkloadProcess } from "../support/processes.ts";

/** How a migration went of which one end was killed. */
export type Ending = "before" | "failed" | "paused" | "completed";

const WENT_AWAY = /^postcopy: Source went away/m;

/** Waits until the guest does something at the destination. */
export async function guestRuns(destination: WorkloadProcess): Promise<void> {
  const event = await destination.event(
    "accesses there",
    (event) => event.event === "progress" && event.workload.accesses > 0,
  );
  assertEquals(event?.event, "progress", "The destination ended before its guest ran");
}

/** The source is gone: the destination ends, or is paused, or never heard of it. */
export async function endOfDestination(destination: WorkloadProcess): Promise<Ending> {
  let seen = destination.lines.length;
  const event = await destination.event("the end or the pause", (event) => {
    if (event.event === "paused" || event.event === "result") return true;
    // A report from before the kill says nothing.
    return --seen < -1 && event.event === "progress" && event.destination.status === "setup";
  });
  assertRight(destination);
  if (event?.event === "progress" || event?.event === "paused") {
    destination.kill("SIGTERM");
    const { code, errors } = await within("the workload to end", destination.ended);
    // On a busy machine it may have been about to notice.
    if (event.event === "progress" && code === 1) {
      assertMatch(errors, WENT_AWAY);
      return "failed";
    }
    assertEquals({ code, errors: errors.replace(/^postcopy: Interrupted.*\n/m, "") }, {
      code: 130,
      errors: "",
    });
    assertRight(destination);
    return event.event === "paused" ? "paused" : "before";
  }
  const { code, errors } = await within("the workload to end", destination.ended);
  if (event?.event === "result") {
    assertEquals(code, 0);
    return "completed";
  }
  assertEquals(code, 1, errors);
  assertMatch(errors, WENT_AWAY);
  return "failed";
}

/** Sees that no byte is wrong that the guest read, or that it left. */
export function assertRight(destination: WorkloadProcess): void {
  const figures = destination.last("progress");
  assertEquals(figures?.workload.failures ?? [], []);
  assertEquals(figures?.destination.duplicates ?? 0, 0);
  const result = destination.last("result");
  assertEquals(result?.check.wrongPages ?? 0, 0);
}

/** Command lines of the processes that this one started and that still run. */
export function childrenLeft(): string[] {
  const left: string[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const parent = /^PPid:\s*(\d+)/m.exec(Deno.readTextFileSync(`/proc/${name}/status`));
      if (Number(parent?.[1]) === Deno.pid) {
        left.push(Deno.readTextFileSync(`/proc/${name}/cmdline`).replaceAll("\0", " "));
      }
    } catch {
      // Gone between the two looks.
    }
  }
  return left;
}
