import { assertAlmostEquals, assertEquals } from "@std/assert";
import type { LibraryFigures, Measured, MoveFigures } from "../../bench/tls/figures.ts";
import type { Kind, Pair } from "../../bench/tls/kind.ts";
import { faultTable, streamTable } from "../../bench/tls/report.ts";
import { tlsTargets } from "../../bench/tls/targets.ts";

/** Figures of a move at so many GB/s, with these mean waits in us. */
function move(rate: number, alone?: number, beside?: number): MoveFigures {
  const waits = (mean: number | undefined) =>
    mean === undefined ? undefined : { count: 1000, mean: mean * 1000, p99: mean * 3000 };
  return {
    stream: { rate: rate * 1e9, setup: 40, sourceCpu: 0.75, destinationCpu: 1.25 },
    alone: waits(alone),
    beside: waits(beside),
  };
}

/** Two plain processes at so many GB/s, with round trips of so many us. */
function plain(rate: number, roundTrip = 10): LibraryFigures {
  return {
    cipher: undefined,
    rate: rate * 1e9,
    sourceCpu: 0.5,
    destinationCpu: 0.25,
    roundTrip: { count: 3000, mean: roundTrip * 1000, p99: roundTrip * 2000 },
  };
}

function measured(
  moves: readonly (readonly [Pair, Kind, readonly MoveFigures[]])[],
  library: readonly (readonly [Kind, readonly LibraryFigures[]])[] = [],
): Measured {
  return {
    library: library.map(([kind, runs]) => ({ kind, runs })),
    moves: moves.map(([pair, kind, runs]) => ({ pair, kind, runs })),
  };
}

const cells = (line: string): string[] => line.split("|").slice(1, -1).map((cell) => cell.trim());
const targets = (found: Measured, words: string) =>
  tlsTargets(found).filter(({ what }) => what.includes(words));

Deno.test("streamTable has two plain processes first, and medians with their range", () => {
  const lines = streamTable(measured(
    [["serve-qemu", "psk", [move(1), move(3), move(2)]], ["ours", "clear", [move(4)]]],
    [["clear", [plain(6)]], ["x509", [plain(2), plain(1)]]],
  )).split("\n");
  assertEquals(lines.slice(2).map(cells), [
    ["sockets alone, in clear", "6.00", "", "0.50", "0.25", "0.75"],
    ["library alone, x509", "1.50 (1.00 to 2.00)", "", "0.50", "0.25", "0.75"],
    ["serve to QEMU, psk", "2.00 (1.00 to 3.00)", "40.0", "0.75", "1.25", "2.00"],
    ["ours to ours, in clear", "4.00", "40.0", "0.75", "1.25", "2.00"],
  ]);
});

Deno.test("faultTable leaves out what a pair was not measured for", () => {
  const lines = faultTable(measured(
    [["ours", "x509", [move(1, 50, 70)]], ["qemu", "x509", [move(1, undefined, 900)]]],
    [["x509", [plain(2, 12)]]],
  )).split("\n");
  assertEquals(lines.slice(2).map(cells), [
    ["library alone, x509: request and 4 KiB", "3000", "12.0", "24.0", "", "", ""],
    ["ours to ours, x509", "1000", "50.0", "150", "1000", "70.0", "210"],
    ["QEMU to QEMU, x509", "-", "-", "-", "1000", "900", "2700"],
  ]);
});

Deno.test("tlsTargets takes a fault's cost from that in clear of the same run", () => {
  const inClear = [move(1, 40, 60), move(1, 80, 60), move(1, 60, 60)];
  // The third run of both was disturbed, and not by TLS.
  const byRun = [move(1, 54, 80), move(1, 95, 76), move(1, 76, 74)];
  const found = measured([["ours", "clear", inClear], ["ours", "x509", byRun]]);
  const [alone, beside] = targets(found, "a fault costs");
  assertEquals([alone!.value, alone!.met, alone!.because], [15, true, "14.0 to 16.0"]);
  assertEquals([beside!.value, beside!.met, beside!.because], [16, false, "14.0 to 20.0"]);
});

Deno.test("tlsTargets does not judge what the library alone adds to a round trip", () => {
  const found = measured([], [["clear", [plain(2, 10)]], ["psk", [plain(1, 16)]]]);
  const [added] = targets(found, "library alone: a request");
  assertEquals([added!.value, added!.met], [6, undefined]);
});

Deno.test("tlsTargets wants nine tenths of the library's throughput, run by run", () => {
  const met = (...rates: number[]) => {
    const found = measured(
      [["ours", "psk", rates.map((rate) => move(rate))]],
      [["psk", [plain(1), plain(2), plain(4)]]],
    );
    return targets(found, "0.9 of the library").map(({ value, met }) => [value, met]);
  };
  assertEquals(met(0.9, 1.8, 1), [[0.9, true]]);
  assertEquals(met(0.5, 1.7, 3.9), [[0.85, false]]);
  assertEquals(met(0.9, 1.8), [], "not of as many runs");
});

Deno.test("tlsTargets wants no less throughput than QEMU to QEMU over TLS of the same kind", () => {
  const found = measured([
    ["ours", "x509", [move(1)]],
    ["ours", "psk", [move(0.9)]],
    ["serve-qemu", "x509", [move(0.5)]],
    ["qemu", "clear", [move(2)]],
    ["qemu", "x509", [move(1)]],
    ["qemu", "psk", [move(1)]],
  ]);
  const judged = targets(found, "no less than QEMU").map((
    { what, value, met },
  ) => [what, value, met]);
  assertEquals(judged, [
    ["x509: throughput no less than QEMU to QEMU", 1, true],
    ["psk: throughput no less than QEMU to QEMU", 0.9, false],
  ]);
  assertEquals(targets(found, "serve to QEMU").map(({ value, met }) => [value, met]), [
    [0.5, undefined],
  ]);
  assertEquals(targets(found, "that in clear, QEMU").map(({ value }) => value), [0.5, 0.5]);
});

Deno.test("tlsTargets says how near throughput is to the library's time a byte on top of that in clear", () => {
  const found = measured(
    [["ours", "clear", [move(1)]], ["ours", "x509", [move(0.6)]]],
    [["clear", [plain(2)]], ["x509", [plain(1)]]],
  );
  // 1 s a GB in clear, and the library takes half a second more than sockets do.
  const [near] = targets(found, "time a byte added");
  assertAlmostEquals(near!.value, 0.9);
  assertEquals(near!.met, undefined);
  assertEquals(targets(measured([["ours", "x509", [move(1)]]]), "time a byte added"), []);
});

Deno.test("tlsTargets has none for what runs in clear alone", () => {
  assertEquals(
    tlsTargets(measured([["ours", "clear", [move(1, 2, 3)]]], [["clear", [plain(1)]]])),
    [],
  );
});
