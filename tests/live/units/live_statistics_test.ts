import { assertEquals } from "@std/assert";
import { RamLayout } from "../../../migration/memory/ram_layout.ts";
import { LiveState } from "../../../server/live_state.ts";
import { liveStatistics } from "../../../server/live_statistics.ts";
import { SourceState } from "../../../server/source_state.ts";

const PAGE = 4096;
const layout = new RamLayout([{ name: "a", usedLength: 100 * PAGE }], PAGE);
const NEVER = {
  started: 0,
  connected: 0,
  prepared: 0,
  stopped: 0,
  switched: 0,
  loaded: 0,
  ended: 0,
};
const SECOND = 1e9;

Deno.test("liveStatistics has the names of query-migrate", () => {
  const statistics = liveStatistics(
    "setup",
    "vanilla",
    layout,
    new SourceState(),
    new LiveState(),
    NEVER,
    100,
    0,
  );
  assertEquals(Object.keys(statistics).sort(), [
    "expected-downtime",
    "mode",
    "ram",
    "request-service-dist",
    "request-service-time",
    "requests-served",
    "setup-time",
    "status",
    "total-time",
  ]);
  assertEquals(Object.keys(statistics.ram).sort(), [
    "dirty-pages-rate",
    "dirty-sync-count",
    "downtime-bytes",
    "duplicate",
    "mbps",
    "normal",
    "normal-bytes",
    "page-size",
    "pages-per-second",
    "postcopy-bytes",
    "postcopy-requests",
    "precopy-bytes",
    "remaining",
    "total",
    "transferred",
  ]);
  assertEquals(Object.values(statistics.ram).every(Number.isFinite), true);
});

Deno.test("liveStatistics counts the bytes of each phase once", () => {
  const state = new SourceState();
  const live = new LiveState();
  state.background.addPages(30, 10);
  state.background.addBytes(1000 + 200 + 300);
  state.urgent.addPages(2, 1);
  state.urgent.addBytes(50);
  live.addPrecopyBytes(1000);
  live.addDowntimeBytes(200);
  const times = {
    started: SECOND,
    connected: 2 * SECOND,
    prepared: 3 * SECOND,
    stopped: 4 * SECOND,
    switched: 4.1 * SECOND,
    loaded: 4.25 * SECOND,
    ended: 0,
  };
  const now = 6 * SECOND;
  const statistics = liveStatistics(
    "postcopy-active",
    "vanilla",
    layout,
    state,
    live,
    times,
    7,
    now,
  );
  const { ram } = statistics;
  assertEquals(ram.transferred, 1550);
  assertEquals(ram["precopy-bytes"], 1000);
  assertEquals(ram["downtime-bytes"], 200);
  assertEquals(ram["postcopy-bytes"], 350);
  assertEquals([ram.normal, ram.duplicate, ram["normal-bytes"]], [32, 11, 32 * PAGE]);
  assertEquals([ram.total, ram.remaining], [100 * PAGE, 7 * PAGE]);
  assertEquals(statistics.downtime, 250);
  assertEquals(statistics["total-time"], 5000);
  assertEquals(statistics["setup-time"], 2000);
  assertEquals(statistics["time-to-run"], 2250);
});

Deno.test("liveStatistics has no downtime before the destination has loaded the guest", () => {
  const times = { ...NEVER, started: 1, connected: 2, prepared: 3, stopped: 4 };
  const state = new SourceState();
  const live = new LiveState();
  const statistics = liveStatistics("device", "vanilla", layout, state, live, times, 0, 9);
  assertEquals("downtime" in statistics, false);
  assertEquals(statistics.ram["postcopy-bytes"], 0);
});

Deno.test("liveStatistics passes on what the precopy worker measured", () => {
  const live = new LiveState();
  const worker = new LiveState(live.buffer);
  worker.rounds = 4;
  worker.dirtyRate = 1234.5;
  worker.bandwidth = 1000 * (PAGE + 8);
  worker.expectedDowntime = 67.5;
  const state = new SourceState();
  const statistics = liveStatistics("active", "vanilla", layout, state, live, NEVER, 0, 0);
  assertEquals(statistics["expected-downtime"], 67.5);
  assertEquals(statistics.ram["dirty-sync-count"], 4);
  assertEquals(statistics.ram["dirty-pages-rate"], 1234.5);
  assertEquals(statistics.ram["pages-per-second"], 1000);
});

Deno.test("LiveState's flags and counters are seen by every thread that has its buffer", () => {
  const live = new LiveState();
  const other = new LiveState(live.buffer);
  assertEquals([other.postcopyWanted, other.guestStopped], [false, false]);
  live.wantPostcopy();
  assertEquals([other.postcopyWanted, other.guestStopped], [true, false]);
  live.setGuestStopped();
  assertEquals([other.postcopyWanted, other.guestStopped], [true, true]);
});
