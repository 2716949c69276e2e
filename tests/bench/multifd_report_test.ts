import { assertEquals } from "@std/assert";
import {
  formatPoint,
  measures,
  type MoveFigures,
  type Pair,
  type Point,
  points,
  type Row,
  type Section,
} from "../../bench/multifd/point.ts";
import {
  bytesTable,
  cpuTable,
  multifdTargets,
  rateTable,
  writtenTable,
} from "../../bench/multifd/report.ts";

const SIZE = 1e9;

/** A run at so many GB/s. */
function run(rate: number): MoveFigures {
  return { rate: rate * 1e9, transferred: SIZE / 2, sourceCpu: 0.25, destinationCpu: rate };
}

function section(
  rows: readonly (readonly [Pair, Point, readonly number[]])[],
  link = "loopback",
): Section {
  return {
    link,
    size: SIZE,
    rate: 100,
    rows: rows.map(([pair, point, rates]): Row => ({ pair, point, runs: rates.map(run) })),
  };
}

const PLAIN: Point = { channels: 4, compression: "none", guest: "rest" };
const ZSTD: Point = { channels: 2, compression: "zstd", guest: "writer" };
const cells = (line: string): string[] => line.split("|").slice(1, -1).map((cell) => cell.trim());
const body = (table: string): string[][] => table.split("\n").slice(2).map(cells);

Deno.test("points has every count of channels below each other, guest by guest", () => {
  assertEquals(points([1, 2], ["none", "zstd"], ["rest", "writer"]).map(formatPoint), [
    "1 x plain, at rest",
    "2 x plain, at rest",
    "1 x zstd, at rest",
    "2 x zstd, at rest",
    "1 x plain, with a writer",
    "2 x plain, with a writer",
    "1 x zstd, with a writer",
    "2 x zstd, with a writer",
  ]);
});

Deno.test("measures has serve move no guest that writes, for an image has none", () => {
  assertEquals(measures("serve-qemu", PLAIN), true);
  assertEquals(measures("serve-qemu", ZSTD), false);
  assertEquals(measures("qemu-ours", ZSTD), true);
});

Deno.test("rateTable has the pairs that were measured, and their ratios to QEMU run by run", () => {
  const measured = section([
    ["ours", PLAIN, [2, 6, 3]],
    ["qemu", PLAIN, [1, 2, 2]],
    ["qemu-ours", PLAIN, [1, 1]],
    ["ours", ZSTD, [1]],
  ]);
  assertEquals(cells(rateTable(measured).split("\n")[0]!).slice(1), [
    "ours to ours",
    "QEMU to QEMU",
    "QEMU to ours",
  ]);
  assertEquals(body(rateTable(measured)), [
    ["4 x plain, at rest", "3.00 (2.00)", "2.00", "1.00"],
    ["2 x zstd, with a writer", "1.00", "-", "-"],
  ]);
});

Deno.test("writtenTable tells what guests that write got done, where that is known", () => {
  const measured = section([["ours", PLAIN, [2]], ["ours", ZSTD, [1, 1]], ["qemu", ZSTD, [1, 1]]]);
  const [plain, ours, qemu] = measured.rows;
  const [first, second] = ours!.runs;
  const rows = [plain!, { ...ours!, runs: [{ ...first!, written: 0.98 }, second!] }, qemu!];
  assertEquals(body(writtenTable({ ...measured, rows })), [
    ["2 x zstd, with a writer", "98.0", "-"],
  ]);
  assertEquals(writtenTable(section([["ours", PLAIN, [2]]])), "");
});

Deno.test("cpuTable and bytesTable are of both ends, and of a byte of memory", () => {
  const measured = section([["ours", PLAIN, [2]], ["qemu", PLAIN, [1]]]);
  assertEquals(body(cpuTable(measured)), [["4 x plain, at rest", "2.25 (1.80)", "1.25"]]);
  assertEquals(body(bytesTable(measured)), [["4 x plain, at rest", "0.50 (1.00)", "0.50"]]);
});

Deno.test("multifdTargets wants QEMU's throughput, and more of zstd on two channels at 1 Gbit/s", () => {
  const rows = [
    ["ours", PLAIN, [0.9]],
    ["qemu", PLAIN, [1]],
    ["ours", ZSTD, [1.2]],
    ["qemu", ZSTD, [1]],
    ["qemu-ours", ZSTD, [5]],
  ] as const;
  const found = (link: string) =>
    multifdTargets(section(rows, link)).map(({ value, met }) => [value, met]);
  assertEquals(found("veth 10 Gbit/s"), [[0.9, false], [1.2, true]]);
  assertEquals(found("veth 1 Gbit/s"), [[0.9, false], [1.2, true], [1.2, false]]);
});

Deno.test("multifdTargets has none where one of both was not measured as often", () => {
  const measured = section([["ours", PLAIN, [1, 1]], ["qemu", PLAIN, [1]], ["ours", ZSTD, [1]]]);
  assertEquals(multifdTargets(measured), []);
});
