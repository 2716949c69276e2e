import { assertEquals, assertThrows } from "@std/assert";
import {
  median,
  overRepetitions,
  ratioOfPairs,
  spread,
  summarise,
} from "../../bench/support/statistics.ts";

Deno.test("summarise gives samples that were measured, whatever their order", () => {
  const samples = Array.from({ length: 200 }, (_, index) => 200 - index);
  assertEquals(summarise(samples), { count: 200, mean: 100.5, p50: 100, p99: 198, max: 200 });
});

Deno.test("summarise leaves the samples in their order", () => {
  const samples = [3, 1, 2];
  summarise(samples);
  assertEquals(samples, [3, 1, 2]);
});

Deno.test("summarise of one sample is that sample", () => {
  assertEquals(summarise([7]), { count: 1, mean: 7, p50: 7, p99: 7, max: 7 });
});

Deno.test("summarise refuses no samples", () => {
  assertThrows(() => summarise([]), RangeError, "No samples");
});

Deno.test("median takes the middle of an odd number of values", () => {
  assertEquals(median([10, 9, 1]), 9);
});

Deno.test("median takes the mean of the middle two of an even number of values", () => {
  assertEquals(median([100, 9, 10, 1]), 9.5);
});

Deno.test("median refuses no values", () => {
  assertThrows(() => median([]), RangeError);
});

Deno.test("spread shows how far repetitions lie apart", () => {
  assertEquals(spread([2, 9, 4]), { median: 4, least: 2, most: 9 });
});

Deno.test("overRepetitions is not moved by one disturbed run, except for the maximum", () => {
  const quiet = { count: 10, mean: 5, p50: 4, p99: 8, max: 9 };
  const disturbed = { count: 10, mean: 500, p50: 400, p99: 800, max: 900 };
  assertEquals(overRepetitions([quiet, disturbed, quiet]), { ...quiet, count: 30, max: 900 });
});

Deno.test("ratioOfPairs divides run by run", () => {
  assertEquals(ratioOfPairs([10, 40, 9], [5, 10, 9]), { median: 2, least: 1, most: 4 });
});

Deno.test("ratioOfPairs refuses series of different length", () => {
  assertThrows(() => ratioOfPairs([1, 2], [1]), RangeError, "2 and 1");
});
