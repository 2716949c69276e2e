import { assert, assertEquals } from "@std/assert";
import { FloorPair } from "../../bench/floors/floor_pair.ts";
import { LOOPBACK } from "../../bench/support/link.ts";

Deno.test("FloorPair measures between two processes, with and without a stream", async () => {
  await using pair = await FloorPair.start(LOOPBACK, "scheduler");
  const counts = { count: 2000, warmUp: 10 };
  const idle = await pair.idle(counts);
  const busy = await pair.underBulk(counts);
  for (const floors of [idle, busy]) {
    assertEquals([floors.request.length, floors.fault.length], [2000, 2000]);
    assert([...floors.request, ...floors.fault].every((latency) => latency > 0));
  }
  assertEquals(idle.bulkRate, 0);
  assert(busy.bulkRate > 0);
});

Deno.test("FloorPair measures placing alone", async () => {
  await using pair = await FloorPair.start(LOOPBACK, "one-cpu");
  assert(await pair.fillRate(4 * 2 ** 20, 4096) > 0);
});

Deno.test("FloorPair can be closed twice", async () => {
  const pair = await FloorPair.start(LOOPBACK, "scheduler");
  await pair.close();
  await pair.close();
});
