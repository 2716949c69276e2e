/** Huge pages of which a part was there when the connection broke. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { TestPattern } from "../../workload/test_pattern.ts";
import { PATTERN } from "../hostile/scripted_source.ts";
import { FaultingThread } from "../memory/faulting_thread.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { DESTINATION, keepThreads, SOURCE } from "../support/kept_threads.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { Random } from "../support/random.ts";
import { testUnless } from "../support/skip.ts";
import { StillGuest } from "../support/still_guest.ts";
import { GrantedHugePages, needsHugePages } from "./granted_pages.ts";
import { HUGE } from "./huge_pages.ts";
import { HugeSource, PARTS } from "./scripted_huge_source.ts";

await keepThreads(...SOURCE, ...DESTINATION);

const HOST_PAGES = 5;

testUnless(
  needsHugePages(HOST_PAGES),
  "Destination forgets huge pages that came in part when the connection broke, and asks for them whole",
  leavingNoDescriptors(async () => {
    await using stack = new AsyncDisposableStack();
    stack.use(new GrantedHugePages(HOST_PAGES));
    const guest = new StillGuest();
    const destination = stack.use(new Destination({ guest }));
    const to = await destination.listen(LOOPBACK);
    const source = stack.use(new HugeSource(to, HOST_PAGES));
    await source.connect();
    await source.switchOver();
    await within("the guest to start", destination.waitFor("postcopy-active"));
    const preempt = await source.connectPreempt();
    const { address } = guest.blocks[0]!;
    const threads = [1, 2, 3].map((hostPage) =>
      stack.use(new FaultingThread(address + hostPage * HUGE + 9 * 4096))
    );
    await within("the requests", source.hear(({ requests }) => requests.length === 3));
    const random = new Random(5);
    source.encodeUrgent(source.parts(1, random));
    source.encodeUrgent(source.parts(2, random).slice(0, 300));
    source.encodePages(source.parts(0, random));
    source.encodePages(source.parts(4, random).slice(0, 200));
    await source.flush();
    await source.flushPreempt();
    await until("two of them", () => destination.statistics().received === 2 * PARTS);
    const bytes = () => destination.statistics()["preempt-bytes"] > 600 * 4096;
    await until("the parts", bytes);
    preempt.close();
    await within("the pause", destination.waitFor("postcopy-paused"));

    const again = stack.use(new HugeSource(to, HOST_PAGES));
    await again.connect();
    again.encodeRecovery();
    await again.flush();
    await within("the bitmaps", again.hear((_, { bitmaps }) => bitmaps.size === 2));
    assertEquals(again.missing(), [2, 3, 4].flatMap((at) => again.parts(at)).concat(again.rom()));
    again.stream.command({ kind: "resume" });
    await again.flush();
    await within("the requests", again.hear(({ requests }) => requests.length === 2));
    assertEquals(
      again.heard.requests,
      [2, 3].map((at) => ({ block: "ram", start: at * HUGE, length: HUGE })),
    );
    await again.connectPreempt();
    again.encodeUrgent(again.parts(3, random));
    await again.flushPreempt();
    await until("the page", () => destination.statistics().received === 3 * PARTS);
    again.encodePages(again.parts(4, random));
    again.encodePages(again.parts(2, random));
    again.encodePages(again.rom());
    again.encodeEnd();
    await again.flush();
    await within("the end", destination.finished);
    const pattern = new TestPattern(PATTERN);
    const expected = new Int32Array(HOST_PAGES * PARTS * 1024);
    for (let page = 0; page < HOST_PAGES * PARTS; page++) {
      pattern.expectedPage(page, expected, page * 1024);
    }
    const found = new Int32Array(viewMemory(address, HOST_PAGES * HUGE).buffer);
    assertEquals(found.every((word, index) => word === expected[index]), true);
    for (const [index, thread] of threads.entries()) {
      assertEquals(await thread.found(), expected[((index + 1) * PARTS + 9) * 1024 + 5]);
    }
    assertEquals(destination.statistics().duplicates, 0);
  }),
);
