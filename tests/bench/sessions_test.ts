import "../support/native.ts";
import { assert, assertEquals, assertGreater, assertRejects } from "@std/assert";
import { ask } from "../../bench/sessions/answers.ts";
import { EpollFloorPair } from "../../bench/sessions/epoll_floor_pair.ts";
import { FloodingDestination } from "../../bench/sessions/flooding_destination.ts";
import {
  cpuNanosecondsOf,
  descriptorLimitOf,
  descriptorsOf,
  memoryOf,
  sharedBytesOf,
  switchesOf,
  threadsOf,
} from "../../bench/sessions/process_cost.ts";
import { SessionProcesses } from "../../bench/sessions/processes.ts";
import { measureStreams } from "../../bench/sessions/stream.ts";
import { LOOPBACK } from "../../bench/support/link.ts";
import { WorkloadImages } from "../../bench/support/workload_images.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { until } from "../support/deadline.ts";

const SIZE = 4 << 20;

async function setUp(images: WorkloadImages, sessions: number) {
  return {
    link: LOOPBACK,
    placement: "scheduler" as const,
    image: await images.path(SIZE),
    pattern: { seed: 1, zeroEvery: 0 },
    sessions,
    processes: 2,
  };
}

Deno.test("SessionProcesses touches pages of all sessions while nothing streams", async () => {
  using images = new WorkloadImages();
  await using processes = new SessionProcesses(await setUp(images, 3));
  await processes.loaded();
  assertEquals(processes.destinations.length, 2);
  const listening = await processes.listen();
  assertEquals(listening.map(({ addresses }) => addresses.length), [2, 1]);
  const from = await processes.open(listening, 1);
  assertGreater(await processes.running(), from);
  for (let walk = 0; walk < 2; walk++) {
    const { samples, rate } = await processes.touch(60, 1e5);
    assertEquals(samples.length, 60);
    assert(samples.every((waited) => waited > 0));
    assert(rate > 0 && rate <= 1e4);
  }
  // A page wakes who waited for it before it is counted.
  let faults = 0;
  await until("120 faults counted", async () => {
    const buckets = (await processes.counted()).flatMap(({ buckets }) => buckets);
    faults = buckets.reduce((sum, count) => sum + count);
    return faults >= 120;
  });
  assertEquals(faults, 120);
  const counted = await processes.counted();
  // Of each session the one page that the stream sent at first, at most.
  const received = counted.reduce((sum, each) => sum + each.received, 0);
  assert(received >= 120 && received <= 123, `${received} pages`);
  assertEquals(await processes.failures(), []);
});

Deno.test("SessionProcesses tells of a session that failed instead of waiting for it", async () => {
  using images = new WorkloadImages();
  await using processes = new SessionProcesses(await setUp(images, 2));
  await processes.listen();
  const nowhere = { addresses: [{ transport: "unix", path: "/nowhere" }], took: 0 } as const;
  await processes.open([nowhere], 1);
  await assertRejects(() => processes.completed(), Error, "/nowhere");
});

Deno.test("measureStreams moves all memory of all sessions", async () => {
  using images = new WorkloadImages();
  const figures = await measureStreams(await setUp(images, 3), SIZE);
  assertEquals(figures.bytes, 3 * SIZE);
  assertGreater(figures.wholeRate, 0);
  assertGreater(figures.rate, 0);
});

Deno.test("FloodingDestination asks until it is told to stop, and its session lives on", async () => {
  using images = new WorkloadImages();
  await using processes = new SessionProcesses(await setUp(images, 1));
  const listening = await processes.listen();
  await processes.open(listening, 1);
  await processes.running();
  using flooding = await FloodingDestination.listen(LOOPBACK.destination.host);
  await processes.openTo({ ask: "open", to: [flooding.address], maxBandwidth: 1 });
  await flooding.accept();
  for (const kind of ["page", "block"] as const) {
    flooding.flood(kind);
    const { samples } = await processes.touch(20, 1e6);
    assertEquals(samples.length, 20);
    assertGreater(await flooding.calm(), 0);
  }
  assertEquals(await processes.failures(), []);
});

Deno.test("EpollFloorPair asks on all connections in turn", async () => {
  await using pair = await EpollFloorPair.start(LOOPBACK.source.host, 5, "scheduler");
  for (let run = 0; run < 2; run++) {
    const samples = await pair.requests({ count: 50, interval: 1e4 });
    assertEquals(samples.length, 50);
    assert(samples.every((latency) => latency > 0));
  }
});

Deno.test("ask throws what a child answers that could not do it", async () => {
  using images = new WorkloadImages();
  await using processes = new SessionProcesses(await setUp(images, 1));
  const [destination] = processes.destinations;
  const share = { sessions: 1, process: 0, processes: 1 };
  const command = { ask: "listen", share, host: "no address", backing: "anonymous" };
  await assertRejects(() => ask(destination!, command), Error, "no address");
});

Deno.test("process_cost reads what a process takes", async () => {
  const before = await memoryOf(Deno.pid);
  const shared = await sharedBytesOf(Deno.pid);
  const switches = await switchesOf(Deno.pid);
  const cpu = await cpuNanosecondsOf(Deno.pid);
  using memory = MappedMemory.anonymous(64 << 20);
  memory.populate();
  const after = await memoryOf(Deno.pid);
  for (const [more, less] of [[after.pss, before.pss], [after.rss, before.rss]]) {
    assertGreater(more! - less!, 32 << 20);
  }
  using memfd = MappedMemory.memfd(16 << 20, "test");
  memfd.populate();
  assertGreater(await sharedBytesOf(Deno.pid) - shared, 8 << 20);
  assertGreater(await cpuNanosecondsOf(Deno.pid), cpu);
  assertGreater(await switchesOf(Deno.pid), switches);
  assertGreater(await threadsOf(Deno.pid), 1);
  const descriptors = await descriptorsOf(Deno.pid);
  assert(descriptors > 3 && descriptors <= await descriptorLimitOf("self"));
});
