import { assert, assertEquals, assertFalse, assertThrows } from "@std/assert";
import { WorkRing } from "../../migration/threads/work_ring.ts";
import { WorkRings } from "../../migration/threads/work_rings.ts";
import { makeEnds, SHAPE, submit } from "./ring_ends.ts";

Deno.test("WorkRings.take goes to the next worker though the last has new results", () => {
  const { rings, worker, idle } = makeEnds(1);
  idle.enter();
  assertEquals(rings.reserve(), 2);
  rings.submit();
  idle.next();
  idle.finish();
  worker.next();
  worker.finish();
  assertEquals(rings.take(), 2);
  rings.release();
  submit(rings);
  idle.next();
  idle.finish();
  assertEquals([rings.take(), rings.take(), rings.take()], [0, 3, -1]);
});

Deno.test("WorkRings.stop leaves results to be taken", () => {
  const { rings, worker } = makeEnds(1);
  worker.next();
  worker.finish();
  rings.stop();
  assertEquals(worker.next(), -1);
  assert(rings.stopped && rings.awaitResult(Infinity));
  assertEquals(rings.take(), 0);
});

Deno.test("WorkRings.bury keeps a worker out that had not entered, once and for all", () => {
  const { rings, idle } = makeEnds(1);
  rings.bury(1);
  rings.bury(1);
  idle.enter();
  assertEquals(rings.reserve(), -1);
  assert(rings.allBusy);
  rings.bury(0);
  assertEquals(rings.reserve(), -1);
  assertFalse(rings.allBusy);
  assertEquals([rings.abandoned(), rings.abandoned()], [0, -1]);
});

Deno.test("WorkRings.submit refuses when nothing is reserved", () => {
  const { rings } = makeEnds(1);
  assertThrows(() => rings.submit(), Error, "call reserve() first");
  assertEquals(rings.reserve(), -1);
  assertThrows(() => rings.submit(), Error, "call reserve() first");
});

Deno.test("WorkRings.cpuTime tells what each worker said", () => {
  const { rings, worker, idle } = makeEnds(0);
  worker.addCpuTime(2 ** 40);
  worker.addCpuTime(0.5);
  idle.addCpuTime(7);
  assertEquals([rings.cpuTime(0), rings.cpuTime(1)], [2 ** 40 + 0.5, 7]);
});

Deno.test("WorkRings refuse a shape that cannot be, another shape's buffer, and a worker that is not there", () => {
  for (const capacity of [0, 3, 2.5, -4, NaN, 2 ** 21]) {
    const make = () => new WorkRings({ workers: 1, capacity, words: 1 });
    assertThrows(make, RangeError, `no power of two up to 2^20: ${capacity}`);
  }
  for (const count of [0, 1.5, -1, NaN]) {
    assertThrows(() => new WorkRings({ workers: count, words: 1 }), RangeError, `: ${count}`);
    assertThrows(() => new WorkRings({ workers: 1, words: count }), RangeError, `: ${count}`);
  }
  const rings = new WorkRings(SHAPE);
  assertThrows(() => new WorkRing({ ...SHAPE, workers: 3 }, rings.buffer, 0), RangeError, "shape");
  for (const worker of [-1, 2, 0.5]) {
    assertThrows(() => rings.bury(worker), RangeError, `no worker: ${worker}`);
    assertThrows(() => new WorkRing(SHAPE, rings.buffer, worker), RangeError, `: ${worker}`);
  }
});

Deno.test("WorkRings.reserveOf gives slots of one worker alone, while it has room", () => {
  const { rings, worker, idle } = makeEnds(1);
  assertEquals(rings.reserveOf(1), -1, "it has not entered");
  assertThrows(() => rings.submit(), Error, "call reserve() first");
  assertEquals(rings.reserveOf(0), -1, "its ring is full");
  idle.enter();
  assertEquals(rings.reserveOf(1), 2);
  rings.submit();
  assertEquals(rings.reserveOf(1), -1);
  worker.next();
  worker.finish();
  assertEquals(rings.reserveOf(0), 1);
  rings.submit();
  worker.next();
  worker.finish();
  assertEquals(rings.reserveOf(0), -1, "no result was released");
  assertEquals([rings.take(), rings.take()], [0, 1]);
  rings.release();
  assertEquals(rings.reserveOf(0), 0);
});
