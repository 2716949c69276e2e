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

/** Numbers of the processes that this one has started and that have not ended. */
function children(): string[] {
  const tasks = [...Deno.readDirSync("/proc/self/task")];
  return tasks.flatMap(({ name }) => {
    try {
      return Deno.readTextFileSync(`/proc/self/task/${name}/children`).split(" ").filter(Boolean);
    } catch {
      return []; // a thread that has just ended
    }
  });
}

Deno.test("FloorPair ends both processes when it is closed, and no others when closed twice", async () => {
  const start = async () => {
    const before = children();
    const pair = await FloorPair.start(LOOPBACK, "scheduler");
    const processes = children().filter((each) => !before.includes(each));
    assertEquals(processes.length, 2);
    return { pair, processes };
  };
  const { pair, processes } = await start();
  await pair.close();
  const left = children();
  assertEquals(processes.filter((each) => left.includes(each)), []);
  const other = await start();
  await using _closed = other.pair;
  await pair.close();
  assertEquals(other.processes, children().filter((each) => other.processes.includes(each)));
  assert(await other.pair.fillRate(4096, 4096) > 0);
});
