import "../support/native.ts";
import { assertEquals, assertGreaterOrEqual } from "@std/assert";
import { FROM_SOURCE } from "../../channel/role.ts";
import { SendingEnd } from "../../channel/sending_end.ts";
import { BlockMap } from "../../client/placing/block_map.ts";
import { Destination } from "../../client/destination.ts";
import { DestinationState } from "../../client/placing/destination_state.ts";
import { FaultIntake } from "../../client/faults/fault_intake.ts";
import { ReturnPathWriter } from "../../client/return_path/return_path_writer.ts";
import { WaitingThreads } from "../../client/faults/waiting_threads.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { PagePlacer, Placement } from "../../ffi/page_placer.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import { RegisterMode, UffdFeature, Userfaultfd } from "../../ffi/userfaultfd.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { HostileSource } from "../hostile/scripted_source.ts";
import { FaultingThread } from "../memory/faulting_thread.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";

const PAGE = 4096;
const PAGES = 64;

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}

for (const channel of ["main", "preempt"] as const) {
  Deno.test(
    `Destination counts the wait of each thread for a page that comes on the ${channel} channel`,
    leavingNoDescriptors(async () => {
      await using stack = new AsyncDisposableStack();
      const guest = new StillGuest();
      const destination = stack.use(new Destination({ guest }));
      const to = await destination.listen(LOOPBACK);
      const source = stack.use(new HostileSource(to, { ram: PAGES }));
      await source.connect();
      await source.switchOver();
      await within("the guest to start", destination.waitFor("postcopy-active"));
      await source.connectPreempt();
      const address = guest.blocks[0]!.address + 7 * PAGE;
      const threads = [1, 2].map(() => stack.use(new FaultingThread(address)));
      await until("both faults", () => destination.statistics().faults === 2);
      await within("the request", source.hear(({ requests }) => requests.length === 1));
      const all = Array.from({ length: PAGES }, (_, page) => page);
      if (channel === "preempt") {
        source.encodeUrgent([7]);
        await source.flushPreempt();
        await until("the page", () => destination.statistics().received === 1);
      }
      source.encodePages(all.filter((page) => page !== 7));
      if (channel === "main") source.encodePages([7]);
      source.encodeEnd();
      await source.flush();
      await within("the end", destination.finished);
      for (const thread of threads) await thread.found();
      const { requests, ...figures } = destination.statistics();
      assertEquals({ requests, waits: sum(figures["postcopy-latency-dist"]) }, {
        requests: 1,
        waits: 2,
      });
      assertEquals(figures["postcopy-vcpu-latency"].map(({ count }) => count), [1, 1]);
      assertGreaterOrEqual(figures["postcopy-latency-max"], figures["postcopy-latency"]);
    }),
  );
}

Deno.test("WaitingThreads counts the wait of a thread that faults again before word of its page came", () => {
  const state = new DestinationState();
  const waiting = new WaitingThreads(state);
  waiting.add(100, 5, 1000);
  waiting.add(200, 5, 1500);
  waiting.add(100, 5, 2000); // woken, and not by its page: it waits as before
  waiting.add(100, 6, 4000); // its page came
  assertEquals(state.threads.list(), [{ threadId: 100, count: 1, mean: 3000 }]);
  waiting.placed(5, 4500);
  waiting.placed(6, 5000);
  waiting.placed(6, 9000); // nobody waits for it
  assertEquals(state.threads.list(), [
    { threadId: 100, count: 2, mean: 2000 },
    { threadId: 200, count: 1, mean: 3000 },
  ]);
  assertEquals(sum(state.latency.buckets()), 3);
  assertEquals(state.latency.longest, 3000);
});

/** Bits of requested pages, where another thread does something just before a bit is set. */
class RacedBitmap extends PageBitmap {
  readonly #race: (page: number) => void;

  constructor(pages: number, race: (page: number) => void) {
    super(pages);
    this.#race = race;
  }

  override add(page: number): boolean {
    this.#race(page);
    return super.add(page);
  }
}

Deno.test(
  "FaultIntake counts the wait for a page that the main channel brings while it is being asked for",
  leavingNoDescriptors(async () => {
    using uffd = new Userfaultfd({ features: UffdFeature.THREAD_ID });
    using memory = MappedMemory.anonymous(PAGES * PAGE);
    using content = MappedMemory.anonymous(PAGE);
    new Int32Array(content.bytes().buffer).fill(1234);
    const { address, length } = memory;
    uffd.register(address, length, RegisterMode.MISSING);
    const map = new BlockMap({
      blocks: [{ name: "ram", address, length, fd: -1, pageSize: PAGE }],
      targetPageSize: PAGE,
      shared: false,
      aliases: [address],
    });
    const state = new DestinationState();
    const waiting = new WaitingThreads(state);
    const received = new PageBitmap(PAGES);
    // The thread of the main channel places the page, finds no request, and tells nobody.
    const placer = new PagePlacer(uffd.fd);
    const requested = new RacedBitmap(PAGES, (page) => {
      assertEquals(
        placer.copy(address + page * PAGE, content.address, PAGE),
        Placement.PLACED,
      );
      received.add(page);
    });
    const bitmaps = { received, claimed: new PageBitmap(PAGES), requested };
    const returnPath = new ReturnPathWriter(
      new SendingEnd({ fd: -1 }, FROM_SOURCE.RETURN_PATH),
      map.layout,
    );
    const absent = new PageBitmap(PAGES).buffer;
    using intake = new FaultIntake(uffd.fd, map, state, bitmaps, waiting, returnPath, absent);
    const poll = new PollSet(1);
    poll.watch(0, uffd.fd, PollEvents.IN);
    using thread = new FaultingThread(address + 9 * PAGE);
    await within("a fault", poll.waitAsync(20_000));
    intake.take();
    assertEquals(await thread.found(), 1234);
    assertEquals([state.faults, sum(state.latency.buckets())], [1, 1]);
    assertEquals(state.threads.list().map(({ count }) => count), [1]);
  }),
);
