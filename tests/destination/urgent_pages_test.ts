import "../support/native.ts";
import { assertEquals, assertMatch } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { HostileSource, PATTERN } from "../hostile/scripted_source.ts";
import { FaultingThread } from "../memory/faulting_thread.ts";
import { TestPattern } from "../../workload/test_pattern.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { DESTINATION, keepThreads } from "../support/kept_threads.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";

await keepThreads(...DESTINATION);

const PAGES = 64;
const ALL: readonly number[] = Array.from({ length: PAGES }, (_, page) => page);
/** Those whose record is longer than a few bytes. */
const DATA = ALL.filter((page) => !new TestPattern(PATTERN).isZero(page));

/** When the preempt channel connects: QEMU 7.2 does it first of all. */
const CONNECTING = ["before the switch", "after it"] as const;

/** A destination whose guest runs and has no page yet. */
async function running(
  connecting: typeof CONNECTING[number],
  stack: AsyncDisposableStack,
): Promise<{
  destination: Destination;
  guest: StillGuest;
  source: HostileSource;
}> {
  const guest = new StillGuest();
  const destination = stack.use(new Destination({ guest }));
  const source = stack.use(new HostileSource(await destination.listen(LOOPBACK), { ram: PAGES }));
  await source.connect();
  if (connecting === "before the switch") await source.connectPreempt();
  await source.switchOver();
  await within("the guest to start", destination.waitFor("postcopy-active"));
  if (connecting === "after it") await source.connectPreempt();
  return { destination, guest, source };
}

function assertPattern(guest: StillGuest): void {
  const expected = new Int32Array(PAGES * 1024);
  const pattern = new TestPattern(PATTERN);
  for (const page of ALL) pattern.expectedPage(page, expected, page * 1024);
  assertEquals(guest.words(), expected);
}

/** Sends what is missing on the main channel, and its end; the destination completes. */
async function complete(
  source: HostileSource,
  destination: Destination,
  missing: readonly number[],
): Promise<void> {
  source.encodePages(missing);
  source.encodeEnd();
  await source.flush();
  await within("the end", destination.finished);
}

/** Returns when the destination has looked at both channels once more. */
async function roundTrip(source: HostileSource, value: number): Promise<void> {
  source.stream.command({ kind: "ping", value });
  await source.flush();
  await within("a PONG", source.hear(({ pongs }) => pongs.includes(value)));
}

for (const known of [true, false]) {
  const what = known ? "one that brought pages before" : "one that was silent until then";
  Deno.test(
    `Destination waits for pages behind the main channel's end on the preempt channel, ${what}`,
    leavingNoDescriptors(async () => {
      await using stack = new AsyncDisposableStack();
      const { destination, guest, source } = await running("after it", stack);
      const { requests } = source.heard;
      const asked = async (page: number) => {
        const thread = stack.use(new FaultingThread(guest.blocks[0]!.address + page * 4096));
        const last = requests.length + 1;
        await within("a request", source.hear(() => requests.length === last));
        assertEquals(requests.at(-1)?.start, page * 4096, destination.pauseReason?.message);
        return thread;
      };
      const first = await asked(7);
      const urgent = known ? [1, 2] : [];
      source.encodeUrgent(urgent);
      await source.flushPreempt();
      await until("the first pages", () => destination.statistics().received === urgent.length);
      source.encodePages(ALL.filter((page) => page !== 7 && page !== 9 && !urgent.includes(page)));
      source.encodeEnd();
      await source.flush();
      await until("the end", () => destination.statistics().received === PAGES - 2);
      // Asked for by a destination that has seen the end, and goes on.
      const second = await asked(9);
      source.encodeUrgent([7, 9]);
      await source.flushPreempt();
      await within("completion", destination.finished);
      const expected = guest.words();
      assertEquals([await first.found(), await second.found()], [
        expected[7 * 1024 + 5],
        expected[9 * 1024 + 5],
      ]);
      assertPattern(guest);
      await within("SHUT", source.hear(({ shuts }) => shuts.length > 0));
      assertEquals(source.heard.shuts, [0]);
    }),
  );
}

for (const connecting of CONNECTING) {
  Deno.test(
    `Destination takes the last 1 to 7 bytes of pages that come late on a preempt channel made ${connecting}`,
    leavingNoDescriptors(async () => {
      await using stack = new AsyncDisposableStack();
      const { destination, guest, source } = await running(connecting, stack);
      const urgent = DATA.slice(0, 8);
      let sent = 0;
      for (const [index, page] of urgent.entries()) {
        source.encodeUrgent([page]);
        const record = source.records.take().slice();
        // Of the first, by which the channel is known, most is there.
        const late = 7 - index % 7;
        const part = record.length - late;
        await source.flushPreempt(record.subarray(0, part));
        sent += part;
        await until("the part", () => destination.statistics()["preempt-bytes"] === sent);
        assertEquals(destination.statistics().received, index);
        await source.flushPreempt(record.subarray(part));
        sent += late;
        await until(`the last ${late} bytes`, () => destination.statistics().received > index);
      }
      await complete(source, destination, ALL.filter((page) => !urgent.includes(page)));
      assertPattern(guest);
    }),
  );

  Deno.test(
    `Destination knows a preempt channel made ${connecting} though its bytes come one by one`,
    leavingNoDescriptors(async () => {
      await using stack = new AsyncDisposableStack();
      const { destination, guest, source } = await running(connecting, stack);
      const [urgent] = DATA;
      source.encodeUrgent([urgent!]);
      const record = source.records.take().slice();
      // Longer than what it is known by: offset and flags, and the block's name.
      for (let at = 0; at < 20; at++) {
        await source.flushPreempt(record.subarray(at, at + 1));
        await roundTrip(source, 100 + at);
      }
      await source.flushPreempt(record.subarray(20));
      await until("the page", () => destination.statistics().received === 1);
      assertEquals(destination.statistics()["preempt-bytes"], record.length);
      await complete(source, destination, ALL.filter((page) => page !== urgent));
      assertPattern(guest);
    }),
  );
}

Deno.test(
  "Destination notices that the preempt channel broke in the midst of the first record, before it was read",
  leavingNoDescriptors(async () => {
    await using stack = new AsyncDisposableStack();
    const destination = stack.use(new Destination({ guest: new StillGuest() }));
    const failure = destination.finished.catch((error: Error) => error);
    const source = stack.use(new HostileSource(await destination.listen(LOOPBACK), { ram: PAGES }));
    await source.connect();
    const preempt = await source.connectPreempt();
    source.encodeUrgent(DATA.slice(0, 1));
    // By so much it is known; the rest never comes.
    await source.flushPreempt(source.records.take().subarray(0, 8));
    preempt.close();
    await source.switchOver();
    // Before the guest runs it is a failure.
    const over = ["failed", "postcopy-paused"];
    await until("the break to be noticed", () => over.includes(destination.status));
    const reason = destination.pauseReason ?? await failure;
    assertMatch(String(reason), /^MigrationError: Source went away: preempt channel: /);
  }),
);
