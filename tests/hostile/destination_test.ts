import "../support/native.ts";
import { assertEquals, assertInstanceOf, assertMatch } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { Socket } from "../../ffi/socket.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { TestPattern } from "../../migration/memory/test_pattern.ts";
import { openImage } from "../../server/image/open_image.ts";
import { MODES } from "../../server/mode.ts";
import { Source } from "../../server/source.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { assertEachPageOnce, LOOPBACK } from "../support/migrate.ts";
import { Random } from "../support/random.ts";
import { StillGuest } from "../support/still_guest.ts";
import { HostileSource, PATTERN } from "./scripted_source.ts";

const PAGES = 64;

/** What a destination makes of a source. */
interface Outcome {
  readonly status: string;
  readonly code: string | undefined;
  readonly message: string;
}

/** Starts a destination, lets a source act, and waits until the destination has failed or paused. */
async function outcomeOf(
  act: (source: HostileSource, to: SocketAddress) => Promise<void>,
  guest = new StillGuest(),
): Promise<Outcome> {
  await using destination = new Destination({ guest });
  const to = await destination.listen(LOOPBACK);
  using source = new HostileSource(to, { ram: PAGES });
  const failed = destination.finished.then(
    () => new Error("It completed"),
    (error) => error as Error,
  );
  const paused = destination.waitFor("postcopy-paused").then(
    () => destination.pauseReason!,
    (error) => error as Error,
  );
  await act(source, to);
  const error = await within("the destination to give up", Promise.race([failed, paused]));
  assertInstanceOf(error, Error);
  const { code } = error as { code?: string };
  return { status: destination.status, code, message: error.message };
}

/** A test of a source that goes wrong before the guest runs: nothing is to be lost, so it fails. */
function failingTest(
  name: string,
  act: (source: HostileSource, to: SocketAddress) => Promise<void>,
  expected: { code: string; message: RegExp },
): void {
  Deno.test(
    name,
    leavingNoDescriptors(async () => {
      const guest = new StillGuest();
      const { status, code, message } = await outcomeOf(act, guest);
      assertMatch(message, expected.message);
      assertEquals({ status, code }, { status: "failed", code: expected.code });
      assertEquals(guest.calls.includes("start"), false);
    }),
  );
}

/** A test of a source that goes wrong while the guest runs on its memory: it pauses. */
function pausingTest(
  name: string,
  act: (source: HostileSource) => Promise<void>,
  expected: { code: string; message: RegExp },
): void {
  Deno.test(
    name,
    leavingNoDescriptors(async () => {
      const guest = new StillGuest();
      const { status, code, message } = await outcomeOf(async (source) => {
        await source.connect();
        await source.switchOver();
        await source.hear(({ pongs }) => pongs.includes(3));
        await until("the guest to start", () => guest.calls.includes("start"));
        await act(source);
      }, guest);
      assertMatch(message, expected.message);
      assertEquals({ status, code }, { status: "postcopy-paused", code: expected.code });
      assertEquals(guest.calls, ["load", "start", "stop"]);
    }),
  );
}

const LOST = { code: "CONNECTION_LOST", message: /^Source went away: main channel: / };

for (const missing of [1, 5, 30, 60]) {
  failingTest(
    `Destination fails when the source vanishes within its opening, ${missing} bytes before LISTEN`,
    async (source) => {
      await source.connect();
      source.encodeAdvise();
      source.encodeBlocks();
      const bytes = source.stream.take();
      await source.flush(bytes.subarray(0, bytes.length - missing));
      source[Symbol.dispose]();
    },
    LOST,
  );
}

failingTest(
  "Destination fails when the source vanishes within the package",
  async (source) => {
    await source.connect();
    source.encodeAdvise();
    source.encodeBlocks();
    source.encodeSwitchover();
    const bytes = source.stream.take();
    await source.flush(bytes.subarray(0, bytes.length - 20));
    source[Symbol.dispose]();
  },
  LOST,
);

failingTest(
  "Destination fails when the source has another version",
  async (source) => {
    await source.connect();
    await source.flush(new Uint8Array([0x51, 0x45, 0x56, 0x4d, 0, 0, 0, 2, 7, 0, 0, 0, 1, 65]));
  },
  { code: "bad-header", message: /version 3/ },
);

failingTest(
  "Destination fails when the source sends garbage instead of a command",
  async (source) => {
    await source.connect();
    source.encodeAdvise();
    await source.flush();
    await source.flush(new Uint8Array([0x99, 1, 2, 3]));
  },
  { code: "bad-element", message: /the type of an element/ },
);

failingTest(
  "Destination fails when the source announces a billion RAM blocks",
  async (source) => {
    await source.connect();
    source.encodeAdvise();
    source.stream.sectionStart(2, "ram", 0, 4);
    source.stream.blockList(4096 * 1e9);
    const sending = (async () => {
      for (let index = 0; index < 5000; index++) {
        source.stream.blockEntry({ name: `block${index}`, usedLength: 4096 });
      }
      await source.flush();
    })();
    await sending;
  },
  { code: "bad-block-list", message: /at most 4096 RAM blocks/ },
);

failingTest(
  "Destination fails when the source announces more RAM than the host has",
  async (source) => {
    await source.connect();
    source.encodeAdvise();
    source.stream.sectionStart(2, "ram", 0, 4);
    source.stream.blockList(2 ** 42);
    source.stream.blockEntry({ name: "ram", usedLength: 2 ** 42 - 4096 });
    source.stream.blockEntry({ name: "more", usedLength: 4096 });
    source.stream.endOfSection();
    await source.flush();
  },
  { code: "TOO_LARGE", message: /^Source announces more RAM than this host has/ },
);

failingTest(
  "Destination fails when a RAM block is no whole number of pages",
  async (source) => {
    await source.connect();
    source.encodeAdvise();
    source.stream.sectionStart(2, "ram", 0, 4);
    source.stream.blockList(8192);
    source.stream.blockEntry({ name: "ram", usedLength: 5000 });
    source.stream.blockEntry({ name: "rom", usedLength: 3192 });
    source.stream.endOfSection();
    await source.flush();
  },
  { code: "BAD_RAM_LAYOUT", message: /^Length of RAM block ram is no positive multiple of 4096/ },
);

failingTest(
  "Destination fails when the source announces a package of 4 GiB",
  async (source) => {
    await source.connect();
    source.encodeAdvise();
    source.encodeBlocks();
    source.stream.packaged(0xffff_ffff);
    await source.flush();
  },
  { code: "TOO_LARGE", message: /^Device state is larger than/ },
);

failingTest(
  "Destination fails when the source sends pages before its RAM blocks",
  async (source) => {
    await source.connect();
    source.encodeAdvise();
    source.stream.sectionStart(2, "ram", 0, 4);
    source.stream.block("ram");
    source.stream.page(0, new Uint8Array(4096), 0);
    source.stream.endOfSection();
    await source.flush();
  },
  { code: "BAD_PEER", message: /^Page before the list of RAM blocks/ },
);

failingTest(
  "Destination fails when the source ends without switching over",
  async (source) => {
    await source.connect();
    source.encodeAdvise();
    source.encodeBlocks();
    source.encodePages([1, 2, 3]);
    source.encodeEnd();
    await source.flush();
  },
  { code: "UNSUPPORTED", message: /^Source ended without switching to postcopy/ },
);

failingTest(
  "Destination fails when the source switches over without ADVISE",
  async (source) => {
    await source.connect();
    source.stream.header();
    source.stream.configuration({ machine: "postcopy-workload" });
    source.encodeBlocks();
    source.encodeSwitchover();
    await source.flush();
  },
  { code: "BAD_PEER", message: /^LISTEN without ADVISE/ },
);

failingTest(
  "Destination fails when the package does not run the guest",
  async (source) => {
    await source.connect();
    source.encodeAdvise();
    source.encodeBlocks();
    source.encodeSwitchover([{ kind: "ping", value: 3 }]);
    await source.flush();
  },
  { code: "GUEST_FAILED", message: /a package that does not run the guest/ },
);

failingTest(
  "Destination fails when the source discards outside a RAM block",
  async (source) => {
    await source.connect();
    source.encodeAdvise();
    source.encodeBlocks();
    const ranges = [{ start: 0, length: (PAGES + 1) * 4096 }];
    source.stream.command({ kind: "discard", block: "ram", ranges });
    await source.flush();
  },
  { code: "BAD_PEER", message: /^Discard outside RAM block ram/ },
);

for (const [what, page] of [["behind the end of", PAGES], ["far outside", 2 ** 40]] as const) {
  failingTest(
    `Destination fails when the source precopies a page ${what} its block`,
    async (source) => {
      await source.connect();
      source.encodeAdvise();
      source.encodeBlocks();
      source.stream.sectionPart(2);
      source.stream.block("ram");
      source.stream.page(page * 4096, new Uint8Array(4096), 0);
      source.stream.endOfSection();
      await source.flush();
    },
    { code: "BAD_PEER", message: /^Page outside RAM block ram/ },
  );
}

Deno.test(
  "Destination tells the source why when the guest cannot be loaded",
  leavingNoDescriptors(async () => {
    for (const method of ["load", "start"] as const) {
      const guest = new StillGuest();
      guest[method] = () => {
        throw new Error("No such device");
      };
      await using destination = new Destination({ guest });
      const to = await destination.listen(LOOPBACK);
      using image = await TestImage.make({ ram: 2048 });
      using opened = await openImage(image.path);
      await using source = new Source(opened, { to });
      const failed = destination.finished.catch((error) => error);
      const error = await within("the source to fail", source.run().catch((error) => error));
      assertMatch(error.message, /^Destination reports a failure: SHUT 1/);
      assertMatch((await failed).message, /^Guest cannot run here: No such device$/);
    }
  }),
);

pausingTest(
  "Destination pauses when the source vanishes after RUN",
  async (source) => {
    await source.flush(new Uint8Array(0));
    source[Symbol.dispose]();
  },
  LOST,
);

pausingTest(
  "Destination pauses when the source vanishes within a page",
  async (source) => {
    source.encodePages([1, 2, 3]);
    await source.flush(source.stream.take().subarray(0, 6000));
    source[Symbol.dispose]();
  },
  LOST,
);

pausingTest(
  "Destination pauses when the preempt channel alone breaks",
  async (source) => {
    const preempt = await source.connectPreempt();
    source.encodeUrgent([7]);
    await source.flushPreempt();
    preempt.close();
  },
  { code: "CONNECTION_LOST", message: /^Source went away: preempt channel: / },
);

pausingTest(
  "Destination pauses when the source ends with pages missing",
  async (source) => {
    source.encodePages([0, 1, 2]);
    source.encodeEnd();
    await source.flush();
  },
  { code: "PAGES_MISSING", message: /without sending all pages, 61 are missing$/ },
);

pausingTest(
  "Destination pauses when the source sends garbage on the main channel",
  (source) => source.flush(new Uint8Array([0x42, 0, 0, 0])),
  { code: "bad-element", message: /the type of an element/ },
);

pausingTest(
  "Destination pauses when the source sends garbage behind a first page on the preempt channel",
  async (source) => {
    await source.connectPreempt();
    source.encodeUrgent([3]);
    await source.flushPreempt();
    await source.flushPreempt(new Uint8Array(16).fill(0xff));
  },
  { code: "bad-record", message: /./ },
);

pausingTest(
  "Destination pauses when the source sends a page of an unknown block",
  async (source) => {
    source.stream.sectionPart(2);
    source.stream.block("nosuch");
    source.stream.page(0, new Uint8Array(4096), 0);
    await source.flush();
  },
  { code: "BAD_PEER", message: /^Page of an unknown RAM block: nosuch/ },
);

pausingTest(
  "Destination pauses when the source sends a zero page outside its block",
  async (source) => {
    source.stream.sectionPart(2);
    source.stream.block("ram");
    source.stream.zeroPage(PAGES * 4096, 0);
    await source.flush();
  },
  { code: "BAD_PEER", message: /^Page outside RAM block ram/ },
);

pausingTest(
  "Destination pauses when the source switches over twice",
  async (source) => {
    source.encodeSwitchover();
    await source.flush();
  },
  { code: "BAD_PEER", message: /./ },
);

Deno.test(
  "Destination keeps the first content of a page that comes twice",
  leavingNoDescriptors(async () => {
    const guest = new StillGuest();
    await using destination = new Destination({ guest });
    using source = new HostileSource(await destination.listen(LOOPBACK), { ram: PAGES });
    await source.connect();
    await source.switchOver();
    const all = Array.from({ length: PAGES }, (_, page) => page);
    source.encodePages(all.slice(0, 50));
    source.encodePages(all.slice(0, 50), 1);
    source.encodePages(all.slice(50));
    source.encodeEnd();
    await source.flush();
    await within("the end", destination.finished);
    assertEquals(destination.statistics().duplicates, 50);
    assertEquals(destination.statistics().received, PAGES);
    const expected = new Int32Array(PAGES * 1024);
    const pattern = new TestPattern(PATTERN);
    for (const page of all) pattern.expectedPage(page, expected, page * 1024);
    assertEquals(guest.words(), expected);
    await source.hear(({ shuts }) => shuts.length > 0);
    assertEquals(source.heard.shuts, [0]);
  }),
);

for (const mode of MODES) {
  Deno.test(
    `Destination in mode ${mode} lets port scanners and silent connections be, and refuses a second source`,
    leavingNoDescriptors(async () => {
      using image = await TestImage.make({ ram: 1024 });
      const guest = new StillGuest((guest) => guest.words()[1023 * 1024]);
      await using destination = new Destination({ guest });
      const to = await destination.listen(LOOPBACK);
      using stack = new DisposableStack();
      const connect = async () => stack.use(await Socket.connect(to));
      await connect(); // says nothing, and stays
      (await connect()).close();
      await (await connect()).sendAll(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
      await (await connect()).sendAll(new Uint8Array([0x51])); // not even a whole magic
      using opened = await openImage(image.path);
      await using source = new Source(opened, { to, mode, maxPostcopyBandwidth: 8 << 20 });
      const sent = source.run();
      sent.catch(() => {}); // awaited below
      await within("the source to be heard", destination.waitFor("postcopy-active"));
      // Says nothing, while the migration runs; refused if the preempt channel is known already.
      await connect().catch(() => {});
      await using second = new Source(opened, { to, mode, stallTimeout: 5000 });
      const refused = await within("the second source", second.run().catch((error) => error));
      assertInstanceOf(refused, Error);
      assertMatch(refused.message, /Destination|ECONNREFUSED/);
      await within("the source to complete", sent);
      await within("the destination to complete", destination.finished);
      assertEachPageOnce({ source: await sent, destination: destination.statistics() });
      image.assertEqualMemory(guest.blocks);
    }),
  );
}

Deno.test(
  "Destination survives random bytes at random points",
  leavingNoDescriptors(async () => {
    const random = new Random(77);
    for (let round = 0; round < 30; round++) {
      const { status } = await outcomeOf(async (source) => {
        await source.connect();
        source.encodeAdvise();
        source.encodeBlocks();
        source.encodeSwitchover();
        source.encodePages([1, 2, 3, 4]);
        const bytes = source.stream.take();
        // It begins with the magic, or nobody listens; half of the time it ends before the pages.
        const at = random.between(4, random.oneIn(2) ? 400 : bytes.length);
        await source.flush(bytes.subarray(0, at));
        const garbage = random.bytes(random.between(1, 5000));
        await source.flush(garbage);
        source[Symbol.dispose]();
      });
      assertMatch(status, /^(?:failed|postcopy-paused)$/);
    }
  }),
);

Deno.test(
  "Destination can be closed at any point, and closing again does nothing",
  leavingNoDescriptors(async () => {
    await new Destination({ guest: new StillGuest() }).close();
    const steps: ((source: HostileSource) => Promise<void>)[] = [
      async () => {},
      (source) => source.connect(),
      (source) => (source.encodeAdvise(), source.flush()),
      (source) => (source.encodeBlocks(), source.flush()),
      (source) => (source.encodeSwitchover(), source.flush()),
      (source) => (source.encodePages([1, 2]), source.flush()),
    ];
    for (let last = 0; last < steps.length; last++) {
      const destination = new Destination({ guest: new StillGuest() });
      using source = new HostileSource(await destination.listen(LOOPBACK), { ram: PAGES });
      for (const step of steps.slice(0, last + 1)) await step(source);
      const finished = destination.finished.then(() => "completed", (error) => error.code);
      await within("close", Promise.all([destination.close(), destination.close()]));
      await destination.close();
      assertEquals(await finished, "CANCELLED");
    }
  }),
);
