/** What a workload's destination did when one end was killed. */

import { assertEquals, assertMatch } from "@std/assert";
import { within } from "../support/deadline.ts";
import type { WorkloadProcess } from "../support/processes.ts";

/** How a migration went of which one end was killed. */
export type Ending = "before" | "failed" | "paused" | "completed";

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
  assertMatch(errors, /^postcopy: Source went away/m);
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
