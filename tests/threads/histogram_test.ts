import { assertEquals } from "@std/assert";
import { LATENCY_BUCKETS, LatencyHistogram } from "../../migration/threads/histogram.ts";
import { Random } from "../support/random.ts";

const MICROSECOND = 1000;

Deno.test("LatencyHistogram counts a latency between its bucket's powers of two", () => {
  for (let bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
    const least = 2 ** bucket * MICROSECOND;
    for (const latency of [least, least * 2 - 1]) {
      const histogram = new LatencyHistogram();
      histogram.record(latency);
      assertEquals(histogram.buckets().indexOf(1), bucket, `${latency} ns`);
    }
  }
});

Deno.test("LatencyHistogram counts what is below and above its range in the outermost buckets", () => {
  const histogram = new LatencyHistogram();
  for (const latency of [0, 1, 999]) histogram.record(latency);
  for (const latency of [2 ** 24 * MICROSECOND, 2 ** 40 * MICROSECOND]) histogram.record(latency);
  assertEquals(histogram.buckets()[0], 3);
  assertEquals(histogram.buckets()[LATENCY_BUCKETS - 1], 2);
  assertEquals(histogram.count, 5);
});

Deno.test("LatencyHistogram has the count, mean and longest of what it was given", () => {
  const random = new Random(1);
  const histogram = new LatencyHistogram();
  assertEquals([histogram.count, histogram.mean, histogram.longest], [0, 0, 0]);
  const latencies = Array.from({ length: 1000 }, () => random.below(1e9));
  for (const latency of latencies) histogram.record(latency);
  const sum = latencies.reduce((total, latency) => total + latency, 0);
  assertEquals(histogram.mean, sum / 1000);
  assertEquals(histogram.longest, Math.max(...latencies));
  assertEquals(histogram.buckets().reduce((total, count) => total + count, 0), 1000);
});

Deno.test("LatencyHistogram is seen by another thread's histogram of the same memory", () => {
  const buffer = new SharedArrayBuffer(LatencyHistogram.BYTES + 64);
  const writer = new LatencyHistogram(buffer, 64);
  const reader = new LatencyHistogram(buffer, 64);
  writer.record(5 * MICROSECOND);
  assertEquals([reader.count, reader.mean, reader.buckets()[2]], [1, 5000, 1]);
});
