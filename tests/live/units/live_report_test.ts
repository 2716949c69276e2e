import { assertEquals } from "@std/assert";
import { liveProgressText } from "../../../server/command/live_report.ts";
import type { LiveStatistics } from "../../../server/live/live_statistics.ts";

function text(status: LiveStatistics["status"], ram: Partial<LiveStatistics["ram"]>): string {
  const all = {
    "page-size": 4096,
    remaining: 64 * 2 ** 20,
    "dirty-pages-rate": 0,
    "pages-per-second": 0,
    "dirty-sync-count": 0,
    ...ram,
  };
  return liveProgressText({ status, ram: all, "expected-downtime": 12 } as LiveStatistics);
}

Deno.test("liveProgressText tells no rate in the first round before it is measured", () => {
  assertEquals(text("setup", {}), "setup, 64 MiB left");
  assertEquals(text("active", { "dirty-sync-count": 1 }), "active, round 1, 64 MiB left");
  assertEquals(
    text("active", { "dirty-sync-count": 1, "pages-per-second": 25600 }),
    "active, round 1, 64 MiB left, 100 MiB/s sent",
  );
});

Deno.test("liveProgressText tells also a guest that wrote nothing, once that is known", () => {
  assertEquals(
    text("active", { "dirty-sync-count": 2, "pages-per-second": 25600 }),
    "active, round 2, 64 MiB left, 0 B/s written, 100 MiB/s sent, downtime 12 ms expected",
  );
});
