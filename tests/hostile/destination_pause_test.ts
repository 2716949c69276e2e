import "../support/native.ts";
import { assertEquals, assertMatch } from "@std/assert";
import { until } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { DESTINATION, keepThreads } from "../support/kept_threads.ts";
import { StillGuest } from "../support/still_guest.ts";
import { LOST, outcomeOf, PAGES } from "./outcome.ts";
import type { HostileSource } from "./scripted_source.ts";

await keepThreads(...DESTINATION);

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
