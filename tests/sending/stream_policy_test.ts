import { assertEquals } from "@std/assert";
import { PaceMeter } from "../../server/sending/pace_meter.ts";
import { batchBytes, manners } from "../../server/sending/stream_policy.ts";

/** A link of 1 Gbit/s, of which nothing is known yet, and a guest of 8 GiB. */
const seen = { pace: 0, roundTrip: 0, segment: 1448, left: 8 * 2 ** 30, limited: false };
const GIGABIT = 0.118;
/** Bytes of a full segment there. */
const LOOPBACK = 65483;

Deno.test("manners leaves 16 KiB on a link of which nothing is known, and yields", () => {
  assertEquals(manners(seen), { wire: 16384, yields: true, patience: 0 });
});

Deno.test("manners leaves two segments where they are longer, and is patient there", () => {
  assertEquals(manners({ ...seen, segment: LOOPBACK }), {
    wire: 130966,
    yields: true,
    patience: 2,
  });
});

Deno.test("manners leaves as much on the wire as a fast link takes between two looks", () => {
  assertEquals(manners({ ...seen, pace: 1 }).wire, 600_000);
});

Deno.test("manners leaves what is under way on a long link, and no more than that for the queue", () => {
  assertEquals(manners({ ...seen, pace: GIGABIT, roundTrip: 10e6 }).wire, GIGABIT * 10.6e6);
});

Deno.test("manners yields on a link, however soon all can be there", () => {
  assertEquals(manners({ ...seen, pace: 1, left: 4096 }).yields, true);
});

Deno.test("manners yields on loopback, but to nobody when all can be there within seconds", () => {
  const loopback = { ...seen, segment: LOOPBACK, pace: 1 };
  assertEquals(manners(loopback).yields, true);
  assertEquals(manners({ ...loopback, left: 2e9 }).yields, false);
});

Deno.test("manners yields where a limit holds the stream, however little is left", () => {
  const held = { ...seen, segment: LOOPBACK, pace: 1, left: 4096, limited: true };
  assertEquals(manners(held).yields, true);
});

Deno.test("batchBytes makes batches larger the more a link takes, and smaller when it does not keep up", () => {
  assertEquals([batchBytes(16384, false), batchBytes(300_000, false)], [65536, 150_000]);
  assertEquals([batchBytes(16384, true), batchBytes(300_000, true)], [32768, 75_000]);
});

Deno.test("PaceMeter knows nothing before a window is over", () => {
  const meter = new PaceMeter();
  meter.sample(0, 0);
  assertEquals([meter.due(5e6), meter.due(10e6), meter.pace], [false, true, 0]);
});

Deno.test("PaceMeter tells the best window of late: in the others there was not enough to send", () => {
  const meter = new PaceMeter();
  meter.sample(0, 0);
  meter.sample(10e6, 10e6);
  meter.sample(20e6, 11e6);
  assertEquals(meter.pace, 1);
});

Deno.test("PaceMeter forgets what was long ago: a link may have become slow", () => {
  const meter = new PaceMeter();
  meter.sample(0, 0);
  meter.sample(10e6, 10e6);
  for (let window = 1; window <= 16; window++) {
    meter.sample(10e6 + window * 10e6, 10e6 + window * 1e6);
  }
  assertEquals(meter.pace, 0.1);
});
