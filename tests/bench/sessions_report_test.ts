import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import type { SessionsRow } from "../../bench/sessions/measure.ts";
import { latencyTable, restTable, streamTable } from "../../bench/sessions/report.ts";
import type { Held, RestFigures } from "../../bench/sessions/rest.ts";
import { middleRate } from "../../bench/sessions/stream.ts";
import { sessionsTargets } from "../../bench/sessions/targets.ts";
import type { Summary } from "../../bench/support/statistics.ts";

const MEBIBYTE = 2 ** 20;

function latencies(...p99s: number[]): Summary[] {
  return p99s.map((p99) => ({ count: 100, mean: p99, p50: p99 / 2, p99, max: p99 * 2 }));
}

function rest(held: Partial<Held>): RestFigures {
  const before = {
    pss: 50 * MEBIBYTE,
    rss: 90 * MEBIBYTE,
    threads: 6,
    descriptors: 20,
    wakeUps: 1,
  };
  return { before, held: { ...before, threads: 8, ...held } };
}

function row(sessions: number, figures: Partial<SessionsRow> = {}): SessionsRow {
  return {
    sessions,
    processes: 4,
    size: 4 * MEBIBYTE,
    listen: 200,
    start: 1500,
    server: rest({}),
    destinations: rest({}),
    waits: latencies(100_000, 120_000, 110_000),
    flooded: latencies(150_000, 240_000, 220_000),
    floor: latencies(50_000),
    rate: [500],
    floodRate: [1e6],
    cpuPerRequest: [30_000],
    buckets: [],
    longest: 0,
    stream: { bytes: 1024 * MEBIBYTE, wholeRate: 5e8, rate: 1e9, cpuPerGigabyte: 0.5 },
    ...figures,
  };
}

const cells = (line: string): string[] => line.split("|").slice(1, -1).map((cell) => cell.trim());
const target = (rows: readonly SessionsRow[], words: string) =>
  sessionsTargets(rows).filter(({ what }) => what.includes(words));

Deno.test("restTable has what each session adds, without its bitmap, and the threads of all", () => {
  const server = rest({
    pss: 50 * MEBIBYTE + 10 * (MEBIBYTE + 128),
    rss: 110 * MEBIBYTE,
    descriptors: 80,
    wakeUps: 11,
  });
  const lines = restTable([row(10, { server })]).split("\n");
  assertEquals(cells(lines[2]!), [
    "10 sessions, server",
    "1500",
    "6 -> 8",
    "1.00",
    "2.00",
    "6.00",
    "1.00",
  ]);
  assertEquals(cells(lines[3]!).slice(0, 3), ["10 sessions, destinations", "200", "6 -> 8"]);
});

Deno.test("latencyTable has waits, waits beside the flood, and the floor in a row", () => {
  const lines = latencyTable([row(1)]).split("\n");
  assertEquals(cells(lines[2]!), [
    "1 session",
    ...["55.0", "110", "240"],
    ...["110", "220", "480"],
    ...["25.0", "50.0", "100"],
    "500",
    "1000000",
    "30.0",
  ]);
});

Deno.test("streamTable divides the memory among the sessions", () => {
  const lines = streamTable([row(10)]).split("\n");
  assertEquals(cells(lines[2]!), ["10 sessions", "102", "1000", "500", "0.50"]);
});

Deno.test("sessionsTargets judges memory and the start of a thousand sessions, not of fewer", () => {
  const met = (sessions: number, start: number) =>
    [...target([row(sessions, { start })], "within 5 s")].map(({ met }) => met);
  assertEquals([met(1000, 4999), met(1000, 5001), met(100, 4999)], [[true], [false], [undefined]]);
  const heavy = rest({ pss: 50 * MEBIBYTE + 1000 * 1.5 * MEBIBYTE });
  const memory = target([row(1000, { server: heavy })], "less than 1 MiB");
  assertEquals(memory.map(({ met }) => met), [false, true]);
  assertEquals(target([row(100)], "less than 1 MiB").map(({ met }) => met), [undefined, undefined]);
});

Deno.test("sessionsTargets wants no more threads with many sessions than with one", () => {
  const more = row(10, { server: rest({ threads: 9 }) });
  assertEquals(target([row(1), more], "threads").map(({ met }) => met), [false, true]);
  assertEquals(target([row(10)], "threads"), []);
});

Deno.test("sessionsTargets compares the p99 of the most sessions with that of one", () => {
  const ratio = (p99: number) =>
    target(
      [
        row(1),
        row(10, { waits: latencies(1, 1, 1) }),
        row(100, { waits: latencies(p99, p99, p99) }),
      ],
      "3 times",
    )
      .map(({ value, met }) => [value, met]);
  assertEquals(ratio(220_000), [[2, true]]);
  assertEquals(ratio(330_000), [[3, false]]);
});

Deno.test("sessionsTargets compares walks beside a flood with those before them, run by run", () => {
  const [flood] = target([row(1)], "flood");
  assertEquals([flood!.value, flood!.met, flood!.because], [2, false, "1.50 to 2.00"]);
});

Deno.test("sessionsTargets wants that idle sessions wake nobody", () => {
  const awake = row(10, { destinations: rest({ wakeUps: 2 }) });
  assertEquals(target([awake], "wake-up").map(({ value, met }) => [value, met]), [
    [0, true],
    [0.1, false],
  ]);
});

Deno.test("middleRate is that of the middle eight tenths, between looks too", () => {
  const arrivals = [[0, 0], [1e9, 50], [2e9, 450], [3e9, 850], [4e9, 950], [9e9, 1000]]
    .map(([at, bytes]) => ({ at: at!, bytes: bytes! }));
  // 100 bytes are there after 1.125 s, 900 after 3.5 s.
  assertAlmostEquals(middleRate(arrivals, 1000), 800 / 2.375);
  assertThrows(() => middleRate(arrivals, 2000), RangeError, "1800 bytes");
});
