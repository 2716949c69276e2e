import { assertEquals } from "@std/assert";
import { progressText, type WorkloadProgress } from "../../client/command/workload_report.ts";

function progress(status: string, more: { "error-desc"?: string } = {}): WorkloadProgress {
  const destination = {
    status,
    received: 500,
    absent: 12,
    pages: 1024,
    "total-time": 2000,
    "main-bytes": 3 * 2 ** 20,
    "preempt-bytes": 2 ** 20,
  };
  const workload = { accesses: 7000, waits: 3, meanWait: 250_000 };
  return { destination, workload, ...more } as WorkloadProgress;
}

Deno.test("progressText tells how fast pages come", () => {
  assertEquals(
    progressText(progress("postcopy-active")),
    "postcopy-active, 50.0 % of 1,024 pages here, 2 MiB/s, 7,000 accesses, 3 waited, 250 us each",
  );
});

Deno.test("progressText of a paused migration says why, and no rate", () => {
  assertEquals(
    progressText(progress("postcopy-paused", { "error-desc": "Main channel closed" })),
    "postcopy-paused: Main channel closed, 50.0 % of 1,024 pages here, 7,000 accesses, 3 waited, " +
      "250 us each",
  );
});
