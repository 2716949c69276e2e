import { assert, assertEquals } from "@std/assert";
import { BandwidthMeter } from "../../../server/live/bandwidth_meter.ts";
import { Random } from "../../support/random.ts";

const MILLISECOND = 1e6;

Deno.test("BandwidthMeter knows nothing before its first window is over", () => {
  const meter = new BandwidthMeter();
  assertEquals(meter.bytesPerSecond, 0);
  meter.sample(0, 0);
  meter.sample(50 * MILLISECOND, 5000);
  assertEquals(meter.bytesPerSecond, 0);
});

Deno.test("BandwidthMeter measures the first window by itself", () => {
  const meter = new BandwidthMeter();
  meter.sample(1000 * MILLISECOND, 7000);
  meter.sample(1100 * MILLISECOND, 7000 + 100_000);
  assertEquals(meter.bytesPerSecond, 1_000_000);
});

Deno.test("BandwidthMeter.due holds at first and whenever a window is over", () => {
  const meter = new BandwidthMeter();
  assert(meter.due(0));
  meter.sample(0, 0);
  assert(!meter.due(99 * MILLISECOND));
  assert(meter.due(100 * MILLISECOND));
  meter.sample(100 * MILLISECOND, 1);
  assert(!meter.due(199 * MILLISECOND));
});

Deno.test("BandwidthMeter follows a link that changed within some windows", () => {
  const meter = new BandwidthMeter();
  let bytes = 0;
  meter.sample(0, bytes);
  for (let window = 1; window <= 20; window++) {
    bytes += window <= 10 ? 1_000_000 : 100_000;
    meter.sample(window * 100 * MILLISECOND, bytes);
  }
  // Ten windows, each counting half: what is left of the old rate is a thousandth.
  assert(Math.abs(meter.bytesPerSecond - 1_000_000) < 10_000, `${meter.bytesPerSecond}`);
});

Deno.test("BandwidthMeter takes a short last window only when it has nothing better", () => {
  const meter = new BandwidthMeter();
  meter.sample(0, 0);
  meter.sample(10 * MILLISECOND, 10_000, true);
  assertEquals(meter.bytesPerSecond, 1_000_000);
  meter.sample(20 * MILLISECOND, 10_000, true);
  assertEquals(meter.bytesPerSecond, 1_000_000);
});

Deno.test("BandwidthMeter takes a last sample at the same moment for none", () => {
  const meter = new BandwidthMeter();
  meter.sample(5, 0);
  meter.sample(5, 1000, true);
  assertEquals(meter.bytesPerSecond, 0);
});

Deno.test("BandwidthMeter of a steady link says its rate, whenever it is asked", () => {
  const random = new Random(11);
  for (let run = 0; run < 200; run++) {
    const rate = random.between(1, 1_000_000); // bytes a millisecond
    const meter = new BandwidthMeter();
    let now = random.below(1e6) * MILLISECOND;
    const start = now;
    for (let sample = 0; sample < 20; sample++) {
      meter.sample(now, (now - start) / MILLISECOND * rate, random.oneIn(2));
      const found = meter.bytesPerSecond;
      assert(found === 0 || Math.abs(found / (rate * 1000) - 1) < 1e-9, `${found} of ${rate}`);
      now += random.between(1, 300) * MILLISECOND;
    }
  }
});
