import { assertEquals, assertStringIncludes } from "@std/assert";
import type { MoveFigures } from "../../bench/compress/compressed_move.ts";
import {
  type Row,
  speedup,
  threadTable,
  totalTable,
  workTable,
} from "../../bench/compress/report.ts";
import { allocationTargets, compressTargets } from "../../bench/compress/targets.ts";
import { formatTarget } from "../../bench/support/target.ts";

function run(total: number, completed = true): MoveFigures {
  return {
    completed,
    total,
    downtime: completed ? 100 : undefined,
    busy: 0.25,
    sender: 0.5,
    compressors: [0.1, 0.3, 0.2],
    pagesPerSecond: 50_000,
    compressedTo: 0.27,
    transferred: 1e8,
    rounds: 3,
    written: 40_000,
  };
}

function row(threads: number, wait: boolean, before: MoveFigures[], after: MoveFigures[]): Row {
  return { case: { threads, wait }, before, after };
}

const cells = (line: string): string[] => line.split("|").slice(1, -1).map((cell) => cell.trim());

Deno.test("speedup is the reference's median total time over the rings'", () => {
  const both = row(4, false, [run(9000), run(6000), run(100)], [run(2000), run(3000), run(1000)]);
  assertEquals(speedup(both), { ratio: 3, atLeast: false });
});

Deno.test("speedup over a reference that was cancelled is a lower bound", () => {
  assertEquals(speedup(row(4, false, [run(30_000, false)], [run(2000)])), {
    ratio: 15,
    atLeast: true,
  });
});

Deno.test("speedup is nothing when the rings were cancelled, or one model was not run", () => {
  assertEquals(speedup(row(4, false, [run(1000)], [run(30_000, false)])), undefined);
  assertEquals(speedup(row(4, false, [], [run(1000)])), undefined);
});

Deno.test("totalTable has what cannot complete, and the published figures, in the row of the case", () => {
  const lines = totalTable([row(16, false, [run(30_000, false)], [run(2000)])]).split("\n");
  assertEquals(cells(lines[2]!), [
    "16, off",
    "cannot complete",
    "2.00",
    ">= 15.0",
    "2317",
    "149",
    "15.6",
  ]);
});

Deno.test("totalTable tells how many of the runs completed when not all did", () => {
  const lines = totalTable([row(5, true, [run(4000), run(9000, false)], [run(2000)])]).split("\n");
  assertEquals(cells(lines[2]!), [
    "5, on",
    "1 of 2 complete",
    "2.00",
    ">= 3.25",
    "-",
    "-",
    "-",
  ]);
});

Deno.test("threadTable has the least and the most busy compression thread in per cent", () => {
  const lines = threadTable([row(4, true, [run(1000)], [run(500)])]).split("\n");
  assertEquals(cells(lines[2]!), [
    "4, on",
    "0.25 / 0.25 (0 / 0)",
    "50.0 / 50.0 (55.1 / 99.9)",
    "10.0-30.0 / 10.0-30.0 (51-63.3 / 99.9)",
  ]);
});

Deno.test("workTable has no downtime for a guest that was not moved", () => {
  const lines = workTable([row(4, true, [run(1000, false)], [run(500)])]).split("\n");
  assertEquals(cells(lines[2]!).at(-1), "- / 100");
});

Deno.test("compressTargets wants total time to hold as threads are added", () => {
  const totals = (...seconds: number[]): Row[] =>
    seconds.map((total, index) => row(4 << index, false, [], [run(total * 1000)]));
  assertEquals(compressTargets(totals(2, 2.2, 2.3)).map(({ met }) => met), [true]);
  assertEquals(compressTargets(totals(2, 3, 1)).map(({ met }) => met), [false]);
  const cancelled = [row(4, false, [], [run(1000, false)]), row(8, false, [], [run(1000)])];
  assertEquals(compressTargets(cancelled).map(({ met }) => met), [false]);
});

Deno.test("compressTargets wants three times the reference's speed with 16 threads and wait off", () => {
  const target = (before: number) =>
    compressTargets([row(16, false, [run(before)], [run(1000)])]).map(({ met }) => met);
  assertEquals(target(3000), [true]);
  assertEquals(target(2900), [false]);
  assertEquals(compressTargets([row(16, true, [run(9000)], [run(1000)])]), []);
});

Deno.test("allocationTargets judges a million pages, and not fewer", () => {
  const growth = [1, 9, 2].map((mebibytes) => mebibytes * 2 ** 20);
  const [enough, few] = allocationTargets([
    { method: "zlib", pages: 1e6, growth },
    { method: "zstd", pages: 1e5, growth },
  ]);
  assertEquals(enough!.met, true);
  assertStringIncludes(formatTarget(few!), "not judged");
  assertEquals(
    allocationTargets([{ method: "zlib", pages: 1e6, growth: [8 * 2 ** 20] }])[0]!.met,
    false,
  );
});
