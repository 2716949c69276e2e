import { assertEquals } from "@std/assert";
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatRate,
  formatShare,
} from "../../migration/report/units.ts";

Deno.test("formatBytes takes the largest unit that leaves a whole part", () => {
  const cases = [0, 1023, 1024, 1536, 4096, 512 * 2 ** 20, 2 ** 40 * 1.25, 2 ** 70];
  assertEquals(cases.map(formatBytes), [
    "0 B",
    "1023 B",
    "1 KiB",
    "1.50 KiB",
    "4 KiB",
    "512 MiB",
    "1.25 TiB",
    "1048576 PiB",
  ]);
});

Deno.test("formatBytes keeps three significant digits where a part is left over", () => {
  assertEquals(formatBytes(1024 * 99.96), "100 KiB");
  assertEquals(formatBytes(1024 * 9.996), "10.0 KiB");
  assertEquals(formatBytes(1024 * 12.34), "12.3 KiB");
});

Deno.test("formatRate adds the second", () => {
  assertEquals(formatRate(1.21 * 2 ** 30), "1.21 GiB/s");
});

Deno.test("formatDuration changes the unit where three digits would not do", () => {
  const cases = [0, 870, 999, 1000, 118_000, 999_400, 999_600, 2_500_000, 3.1e9, 4.2e12];
  assertEquals(cases.map(formatDuration), [
    "0 ns",
    "870 ns",
    "999 ns",
    "1 us",
    "118 us",
    "999 us",
    "1.00 ms",
    "2.50 ms",
    "3.10 s",
    "4200 s",
  ]);
});

Deno.test("formatDuration rounds nanoseconds", () => {
  assertEquals(formatDuration(12.6), "13 ns");
});

Deno.test("formatCount separates thousands", () => {
  assertEquals([0, 999, 131_072, 12_345_678].map(formatCount), [
    "0",
    "999",
    "131,072",
    "12,345,678",
  ]);
});

Deno.test("formatShare of nothing is everything", () => {
  assertEquals([formatShare(1, 3), formatShare(0, 0)], ["33.3 %", "100.0 %"]);
});
