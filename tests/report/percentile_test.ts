import { assertEquals } from "@std/assert";
import { percentile } from "../../migration/report/percentile.ts";

Deno.test("percentile is a sample, by nearest rank", () => {
  const samples = Float64Array.from({ length: 200 }, (_, index) => index + 1);
  assertEquals([0, 0.5, 0.99, 0.995, 0.999, 1].map((share) => percentile(samples, share)), [
    1,
    100,
    198,
    199,
    200,
    200,
  ]);
});

Deno.test("percentile of one sample is that sample", () => {
  assertEquals([percentile([7], 0.01), percentile([7], 0.99)], [7, 7]);
});

Deno.test("percentile of no samples is 0", () => {
  assertEquals(percentile([], 0.5), 0);
});
