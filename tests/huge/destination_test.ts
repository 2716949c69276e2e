import "../support/native.ts";
import { assert, assertEquals, assertInstanceOf, assertMatch } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { TestPattern } from "../../workload/test_pattern.ts";
import { WorkloadGuest } from "../../workload/workload_guest.ts";
import { PATTERN } from "../hostile/scripted_source.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { DESTINATION, keepThreads } from "../support/kept_threads.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { Random } from "../support/random.ts";
import { testUnless } from "../support/skip.ts";
import { StillGuest } from "../support/still_guest.ts";
import { GrantedHugePages, needsHugePages } from "./granted_pages.ts";
import { HUGE } from "./huge_pages.ts";
import { HugeSource, PARTS } from "./scripted_huge_source.ts";

await keepThreads(...DESTINATION);

const HOST_PAGES = 4;
const skip = needsHugePages(HOST_PAGES);

function assertPattern(guest: StillGuest): void {
  const pattern = new TestPattern(PATTERN);
  let page = 0;
  for (const block of [0, 1]) {
    const words = guest.words(block);
    const expected = new Int32Array(words.length);
    for (let at = 0; at < words.length; at += 1024) pattern.expectedPage(page++, expected, at);
    assertEquals(words, expected);
  }
}

/** Runs a scripted source against a destination with a guest that does nothing. */
function stillTest(
  name: string,
  act: (source: HugeSource, destination: Destination, guest: StillGuest) => Promise<void>,
): void {
  testUnless(
    skip,
    name,
    leavingNoDescriptors(async () => {
      using _granted = new GrantedHugePages(HOST_PAGES);
      const guest = new StillGuest();
      await using destination = new Destination({ guest });
      using source = new HugeSource(await destination.listen(LOOPBACK), HOST_PAGES);
      await source.connect();
      await within("the source's part", act(source, destination, guest));
    }),
  );
}

async function failureOf(destination: Destination): Promise<Error> {
  const failed = destination.finished.then(
    () => new Error("It completed"),
    (error) => error as Error,
  );
  const paused = destination.waitFor("postcopy-paused").then(
    () => destination.pauseReason!,
    (error) => error as Error,
  );
  return await within("the destination to give up", Promise.race([failed, paused]));
}

function failureTest(
  name: string,
  act: (source: HugeSource) => void | Promise<void>,
  expected: { readonly code: string; readonly message: RegExp },
): void {
  stillTest(name, async (source, destination) => {
    await act(source);
    await source.flush();
    const error = await failureOf(destination);
    assertInstanceOf(error, Error);
    assertMatch(error.message, expected.message);
    assertEquals((error as { code?: string }).code, expected.code);
    assertMatch(destination.status, /^(?:failed|postcopy-paused)$/);
  });
}

stillTest(
  "Destination places huge pages whose parts come in any order on both channels",
  async (source, destination, guest) => {
    const random = new Random(12);
    await source.switchOver();
    await source.connectPreempt();
    source.encodeUrgent(source.parts(2, random));
    source.encodeUrgent(source.rom().slice(3, 7));
    source.encodeUrgent(source.parts(0, random));
    await source.flushPreempt();
    // Nobody asked for them: the end of the main channel must not come first.
    const urgent = 2 * PARTS + 4;
    await until("the urgent pages", () => destination.statistics().received === urgent);
    // Another channel's host page is begun here and ended there, with sections between.
    const parts = source.parts(1, random);
    source.encodePages(parts.slice(0, 100));
    source.encodePages(parts.slice(100));
    source.encodePages(source.rom().filter((_, index) => index < 3 || index >= 7));
    source.encodePages(source.parts(3, random));
    source.encodeEnd();
    await source.flush();
    await within("the end", destination.finished);
    const { received, pages, duplicates, requests } = destination.statistics();
    assertEquals([received, duplicates, requests], [pages, 0, 0]);
    assertEquals(pages, HOST_PAGES * PARTS + 32);
    assertPattern(guest);
    assertEquals(guest.blocks.map(({ pageSize }) => pageSize), [HUGE, 4096]);
  },
);

stillTest(
  "Destination keeps huge pages that came before the switchover and forgets those discarded",
  async (source, destination, guest) => {
    source.encodeAdvise();
    source.encodeBlocks();
    const all = [0, 1, 2, 3].flatMap((hostPage) => source.parts(hostPage));
    source.encodePages(all, 1); // wrong ones, which are replaced
    source.encodePages(source.rom());
    const kept = source.parts(1, new Random(4));
    source.encodePages(kept);
    source.stream.command({
      kind: "discard",
      block: "ram",
      ranges: [{ start: 0, length: HUGE }, { start: 2 * HUGE, length: 2 * HUGE }],
    });
    source.encodePackage();
    for (const hostPage of [3, 0, 2]) source.encodePages(source.parts(hostPage));
    source.encodeEnd();
    await source.flush();
    await within("the end", destination.finished);
    const { received, pages, duplicates } = destination.statistics();
    assertEquals([received, duplicates], [pages, 0]);
    assertPattern(guest);
  },
);

stillTest(
  "Destination leaves a huge page that comes twice as it is",
  async (source, destination, guest) => {
    await source.switchOver();
    for (const hostPage of [0, 1, 2, 3]) source.encodePages(source.parts(hostPage));
    source.encodePages(source.parts(2), 1);
    source.encodePages(source.rom());
    source.encodeEnd();
    await source.flush();
    await within("the end", destination.finished);
    assertEquals(destination.statistics().duplicates, PARTS);
    assertPattern(guest);
  },
);

testUnless(
  skip,
  "Destination asks once for a huge page, whole, however many threads wait in it",
  leavingNoDescriptors(async () => {
    using _granted = new GrantedHugePages(HOST_PAGES);
    const guest = new WorkloadGuest({ threads: 6, untilTouched: true });
    await using destination = new Destination({ guest });
    using source = new HugeSource(await destination.listen(LOOPBACK), HOST_PAGES);
    await source.connect();
    await source.switchOver();
    await source.connectPreempt();
    source.encodePages(source.rom());
    await source.flush();
    const { requests } = source.heard;
    const answered = new Set<number>();
    while (answered.size < HOST_PAGES) {
      const asked = () => requests.find(({ start }) => !answered.has(start / HUGE));
      await within("a request", source.hear(() => asked() !== undefined));
      const { block, start, length } = asked()!;
      assertEquals([block, start % HUGE, length], ["ram", 0, HUGE]);
      answered.add(start / HUGE);
      source.encodeUrgent(source.parts(start / HUGE, new Random(start)));
      await source.flushPreempt();
    }
    source.encodeEnd();
    await source.flush();
    await within("the end", destination.finished);
    assertEquals(requests.length, HOST_PAGES);
    await within("the guest", guest.ended);
    const figures = destination.statistics();
    assertEquals(figures.requests, HOST_PAGES);
    assert(figures.faults >= HOST_PAGES);
    assertEquals(guest.statistics().failures, []);
    assertEquals((await guest.check()).wrongPages, 0);
  }),
);

failureTest(
  "Destination refuses a page of another host page inside of one",
  async (source) => {
    await source.switchOver();
    source.encodePages([...source.parts(1).slice(0, 500), PARTS * 2]);
  },
  { code: "BAD_PEER", message: /^Non-same host page: / },
);

failureTest(
  "Destination refuses a small page inside of a host page",
  async (source) => {
    await source.switchOver();
    source.encodePages([...source.parts(1).slice(0, 500), source.rom()[0]!]);
  },
  { code: "BAD_PEER", message: /^Non-same host page: a page of RAM block rom came before all of / },
);

failureTest(
  "Destination refuses a page twice inside of a host page",
  async (source) => {
    await source.switchOver();
    source.encodePages([0, 1, 2, 1]);
  },
  { code: "BAD_PEER", message: /^Page came twice in one host page: / },
);

failureTest(
  "Destination takes a host page that never came whole for missing",
  async (source) => {
    await source.switchOver();
    for (const hostPage of [0, 1, 2]) source.encodePages(source.parts(hostPage));
    source.encodePages(source.rom());
    source.encodePages(source.parts(3).slice(1));
    source.encodeEnd();
  },
  { code: "PAGES_MISSING", message: /512 are missing/ },
);

failureTest(
  "Destination refuses to run on a host page that came in part and was not discarded",
  (source) => {
    source.encodeAdvise();
    source.encodeBlocks();
    source.encodePages(source.parts(2).slice(0, 511));
    source.encodePackage();
  },
  { code: "BAD_PEER", message: /only a part of a page of 2097152 .* block ram, at 4194304$/ },
);

failureTest(
  "Destination refuses to discard a part of a host page",
  (source) => {
    source.encodeAdvise();
    source.encodeBlocks();
    source.stream.command({
      kind: "discard",
      block: "ram",
      ranges: [{ start: HUGE, length: 4096 }],
    });
  },
  { code: "BAD_PEER", message: /^Discard .*RAM block ram.*: 4096 bytes at 2097152/ },
);

for (const summary of [0x1000, 0x20_0000, 0x4020_1000]) {
  failureTest(
    `Destination refuses the page sizes 0x${summary.toString(16)} of blocks of 4 KiB and 2 MiB`,
    (source) => {
      source.summary = summary;
      source.encodeAdvise();
      source.encodeBlocks();
    },
    {
      code: "UNSUPPORTED",
      message: new RegExp(`page sizes 0x${summary.toString(16)} .* 0x201000`),
    },
  );
}

for (const pageSize of [1 << 16, 1 << 20, 1 << 23]) {
  failureTest(
    `Destination refuses host pages of ${pageSize} bytes`,
    (source) => {
      source.pageSize = pageSize;
      source.summary = 4096 | pageSize;
      source.encodeAdvise();
      source.encodeBlocks();
    },
    {
      code: "UNSUPPORTED",
      message: new RegExp(`RAM block ram has pages of ${pageSize}`),
    },
  );
}

testUnless(
  skip,
  "Destination says how many huge pages are free when there are not enough",
  leavingNoDescriptors(async () => {
    using granted = new GrantedHugePages(1);
    await using destination = new Destination({ guest: new StillGuest() });
    using source = new HugeSource(await destination.listen(LOOPBACK), 4096);
    await source.connect();
    source.encodeAdvise();
    source.encodeBlocks();
    await source.flush();
    const error = await failureOf(destination);
    assertMatch(
      error.message,
      new RegExp(
        `4096 huge pages of 2 MiB are needed, \\d+ of \\d+ are free: sysctl vm.nr_hugepages=`,
      ),
    );
    assertEquals(granted.count, 1);
  }),
);
