import { assert, assertEquals, assertGreater, assertThrows } from "@std/assert";
import { Ring } from "../../migration/threads/ring.ts";
import { within } from "../support/deadline.ts";
import { Random } from "../support/random.ts";
import { giveWay } from "./barrier.ts";
import type { RingJob } from "./ring_worker.ts";

// Where both threads share a core, they take turns as often as the ring is full.
for (const [capacity, entries] of [[4, 200_000], [1024, 1_000_000]] as const) {
  Deno.test(`Ring of ${capacity} carries ${entries} entries between two threads in order and whole`, async () => {
    const ring = new Ring(capacity, 2);
    const worker = new Worker(new URL("./ring_worker.ts", import.meta.url), { type: "module" });
    const { promise: pushed, resolve } = Promise.withResolvers<number>();
    worker.onmessage = ({ data }) => resolve(data);
    try {
      const job: RingJob = { buffer: ring.buffer, capacity, entries };
      worker.postMessage(job);
      let empty = 0;
      for (let entry = 0; entry < entries; entry++) {
        while (ring.empty) if ((++empty & 0xff) === 0) giveWay();
        if (ring.peek(0) !== entry || ring.peek(1) !== ~entry) {
          throw new Error(`Entry ${entry} came as: ${ring.peek(0)}, ${ring.peek(1)}`);
        }
        ring.drop();
      }
      assert(ring.empty);
      const full = await within("the producer to end", pushed);
      // Both ends ran at once: each has met the other's edge.
      assertGreater(full + empty, 0);
    } finally {
      worker.terminate();
    }
  });
}

Deno.test("Ring behaves as a queue of bounded length, past the wrap of its counters", () => {
  const random = new Random(3);
  const ring = new Ring(8, 2);
  // As if 2^31 - 20 entries had passed.
  const words = new Int32Array(ring.buffer);
  words[0] = words[16] = 2 ** 31 - 20;
  const queue: number[] = [];
  for (let step = 0; step < 2000; step++) {
    assertEquals(ring.empty, queue.length === 0);
    if (random.oneIn(2)) {
      const value = random.u32() | 0;
      assertEquals(ring.push(value, step), queue.length < 8);
      if (queue.length < 8) queue.push(value);
    } else if (queue.length > 0) {
      assertEquals(ring.peek(), queue.shift());
      ring.drop();
    }
  }
});

Deno.test("Ring of one word carries what it is given", () => {
  const ring = new Ring(2, 1);
  const other = new Ring(2, 1, ring.buffer);
  assert(ring.push(-1) && ring.push(7) && !ring.push(8));
  assertEquals(other.peek(), -1);
  other.drop();
  assertEquals(other.peek(), 7);
});

Deno.test("Ring refuses a capacity that is no power of two", () => {
  for (const capacity of [0, 3, 6, -4]) {
    assertThrows(() => new Ring(capacity, 1), RangeError, `no power of two: ${capacity}`);
  }
});
