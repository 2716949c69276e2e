import { assertEquals } from "@std/assert";
import { RamLayout } from "../../../migration/memory/ram_layout.ts";
import { compressionStatistics } from "../../../server/compression/compression_statistics.ts";
import { LiveState } from "../../../server/live/live_state.ts";
import { liveStatistics } from "../../../server/live/live_statistics.ts";
import type { SourceFigures, SourceTimes } from "../../../server/outgoing/statistics.ts";
import { SourceState } from "../../../server/sending/source_state.ts";

const PAGE = 4096;
const layout = new RamLayout([{ name: "a", usedLength: 100 * PAGE }], PAGE);
const NEVER = {
  started: 0,
  connected: 0,
  prepared: 0,
  pages: 0,
  stopped: 0,
  paused: 0,
  saved: 0,
  switched: 0,
  loaded: 0,
  ended: 0,
};
const SECOND = 1e9;

/** Figures of a migration without compression. */
function figures(state: SourceState, times: SourceTimes): SourceFigures {
  const none = { compression: undefined, multifd: undefined };
  return { mode: "vanilla", layout, state, times, ...none, threads: [] };
}

Deno.test("liveStatistics has the names of query-migrate", () => {
  const statistics = liveStatistics(
    "setup",
    figures(new SourceState(), NEVER),
    new LiveState(),
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
    "threads",
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
    pages: 0,
    stopped: 4 * SECOND,
    paused: 4.01 * SECOND,
    saved: 4.05 * SECOND,
    switched: 4.1 * SECOND,
    loaded: 4.25 * SECOND,
    ended: 0,
  };
  const now = 6 * SECOND;
  const statistics = liveStatistics(
    "postcopy-active",
    figures(state, times),
    live,
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
  const parts = statistics["downtime-parts"]!;
  assertEquals([parts.stop, parts.save, parts.transfer].map(Math.round), [10, 40, 200]);
  assertEquals(statistics["total-time"], 5000);
  assertEquals(statistics["setup-time"], 2000);
  assertEquals(statistics["time-to-run"], 2250);
});

Deno.test("liveStatistics tells what compression did in the names of query-migrate", () => {
  const state = new SourceState();
  state.compression.addCompressed(1000);
  state.compression.addCompressed(1048);
  state.compression.addBusy();
  state.compression.addIncompressible();
  const compression = compressionStatistics("zlib", state.compression, PAGE);
  const all = { ...figures(state, NEVER), compression };
  const statistics = liveStatistics("active", all, new LiveState(), 0, 0);
  assertEquals(statistics.compression, {
    method: "zlib",
    pages: 2,
    busy: 1,
    "busy-rate": 0.25,
    incompressible: 1,
    failed: 0,
    "compressed-size": 2048,
    "compression-rate": 4,
  });
  const none = compressionStatistics("zstd", new SourceState().compression, PAGE);
  assertEquals([none["busy-rate"], none["compression-rate"]], [0, 0]);
});

Deno.test("liveStatistics has no downtime before the destination has loaded the guest", () => {
  const times = { ...NEVER, started: 1, connected: 2, prepared: 3, pages: 0, stopped: 4 };
  const state = new SourceState();
  const live = new LiveState();
  const statistics = liveStatistics("device", figures(state, times), live, 0, 9);
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
  const statistics = liveStatistics("active", figures(state, NEVER), live, 0, 0);
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
