import "../support/native.ts";
import { assert, assertEquals, assertGreater } from "@std/assert";
import { measureDaemon } from "../../bench/daemon/measure.ts";
import { daemonTable, daemonTargets } from "../../bench/daemon/report.ts";
import { WorkloadImages } from "../../bench/support/workload_images.ts";
import type { Summary } from "../../bench/support/statistics.ts";

Deno.test("measureDaemon touches pages that a daemon serves, beside those who look at it and without them", async () => {
  using images = new WorkloadImages();
  const row = await measureDaemon({
    ...{ placement: "scheduler", images, sessions: 2, processes: 1 },
    ...{ rate: 200, count: 400, pairs: 2, clients: 5, watchers: [] },
  });
  assertEquals([row.quiet.length, row.watched.length], [2, 2]);
  for (const { count, p50 } of [...row.quiet, ...row.watched]) {
    assertEquals(count, 400);
    assertGreater(p50, 0);
  }
  // Two seconds of walk: each client has asked, and all that a dashboard reads was read.
  for (const { answers, scrapes, scrapeBytes, looks } of row.done) {
    assert(answers >= 5 && scrapes >= 1 && looks >= 1, JSON.stringify(row.done));
    assertGreater(scrapeBytes, 0);
  }
  assertEquals(daemonTable(row).split("\n").length, 4);
});

Deno.test("daemonTargets holds each watched walk against the quiet one of its pair", () => {
  const walk = (p50: number, p99: number): Summary => ({ count: 1, mean: p50, p50, p99, max: p99 });
  const row = {
    ...{ sessions: 1, clients: 50, size: 4096, quietCpu: [1e7], watchedCpu: [2e7], done: [] },
    quiet: [walk(100, 200), walk(200, 200), walk(100, 1000)],
    watched: [walk(105, 230), walk(210, 230), walk(105, 1000)],
  };
  assertEquals(daemonTargets(row).map(({ value, met }) => [value, met]), [[1.05, true], [
    1.15,
    false,
  ]]);
  assertEquals(daemonTargets(row)[1]!.because, "1.00 to 1.15");
});
