import { assertEquals } from "@std/assert";
import {
  bucketLimit,
  formatBar,
  formatLatencyChart,
} from "../../migration/report/latency_chart.ts";

function buckets(counts: Record<number, number>): number[] {
  return Array.from({ length: 24 }, (_, bucket) => counts[bucket] ?? 0);
}

Deno.test("bucketLimit changes to milliseconds at 1024 us and to seconds at 2^20 us", () => {
  assertEquals([0, 6, 9, 10, 13, 19, 20, 24].map(bucketLimit), [
    "1 us",
    "64 us",
    "512 us",
    "1 ms",
    "8 ms",
    "512 ms",
    "1 sec",
    "16 sec",
  ]);
});

Deno.test("formatBar draws eighths, and something for anything above nothing", () => {
  assertEquals([0, 0.001, 0.25, 0.5, 1, 7].map((share) => formatBar(share, 2)), [
    "",
    "▏",
    "▌",
    "█",
    "██",
    "██",
  ]);
});

Deno.test("formatLatencyChart shows empty buckets only between full ones", () => {
  assertEquals(formatLatencyChart(buckets({ 5: 1000, 7: 250, 10: 1 }), 4), [
    "  32 us -   64 us  1,000  ████",
    "  64 us -  128 us      0",
    " 128 us -  256 us    250  █",
    " 256 us -  512 us      0",
    " 512 us -    1 ms      0",
    "   1 ms -    2 ms      1  ▏",
  ]);
});

Deno.test("formatLatencyChart draws the last bucket as QEMU names it", () => {
  assertEquals(formatLatencyChart(buckets({ 23: 2 }), 1), ["  8 sec -  16 sec  2  █"]);
});

Deno.test("formatLatencyChart of empty buckets is no line", () => {
  assertEquals(formatLatencyChart(buckets({})), []);
});
