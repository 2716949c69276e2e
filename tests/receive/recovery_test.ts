/** Sources that have switched to postcopy, are cut off, and come again. */
import "../support/native.ts";
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { Socket } from "../../ffi/socket.ts";
import { until, within } from "../support/deadline.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { ALL, assertFigures, PAGES, receiving } from "./received.ts";
import { breakOff, resumeAll, ResumingSource } from "./resuming_source.ts";

Deno.test(
  "ImageReceiver tells a source that comes again what is here, and takes the rest",
  receiving(async (reception) => {
    const { receiver } = reception;
    await breakOff(reception, ALL.slice(0, 10));
    assertMatch(receiver.pauseReason!.message, /^Source went away: (main channel|return path): /);
    assertEquals([receiver.pauseReason!.code, receiver.holdsGuest], ["CONNECTION_LOST", true]);
    using source = new ResumingSource(reception.to);
    await source.connect();
    assert(await source.ask());
    assertEquals(source.missing(), ALL.slice(10));
    await until("the recovery", () => receiver.status === "postcopy-recover");
    assert(await source.resume());
    assertEquals(source.resuming.acks, [1]);
    await until("the resumption", () => receiver.status === "postcopy-active");
    assertEquals(receiver.pauseReason, undefined);
    await source.sendLast(ALL.slice(10));
    assert(await source.listen(({ shuts }) => shuts.length > 0));
    await reception.completes();
    assertEquals(source.heard.shuts, [0]);
    assertFigures(receiver, { status: "completed", received: PAGES, duplicates: 0 });
    await reception.assertImage();
  }),
);

Deno.test(
  "ImageReceiver takes urgent pages of a source that comes again, by its new preempt channel",
  receiving(async (reception) => {
    const { source, receiver, to } = reception;
    await source.connect();
    await source.connectPreempt();
    await source.switchOver();
    await source.sendUrgent(ALL.slice(0, 10));
    await until("urgent pages", () => receiver.statistics().received === 10);
    source[Symbol.dispose]();
    await reception.pauses();
    using again = new ResumingSource(to);
    await again.connect();
    await again.connectPreempt(); // as QEMU 7.2: at once
    assert(await again.ask());
    assert(await again.resume());
    await again.sendUrgent(ALL.slice(10, 30));
    await again.sendPages(ALL.slice(30));
    await until("all pages", () => receiver.statistics().remaining === 0);
    again.encodeEnd();
    await again.flush();
    await reception.completes();
    assertFigures(receiver, { duplicates: 0 });
    await reception.assertImage();
  }),
);

Deno.test(
  "ImageReceiver ends the main channel when the preempt channel alone is gone",
  receiving(async (reception) => {
    const { source, receiver, to } = reception;
    await source.connect();
    const preempt = await source.connectPreempt();
    await source.switchOver();
    await source.sendUrgent([0]);
    await until("an urgent page", () => receiver.statistics().received === 1);
    preempt.close();
    assertMatch((await reception.pauses()).message, /^Source went away: preempt channel: /);
    await source.hear(() => false); // to the end, which must come
    assertEquals(source.heard.shuts, []);
    using _again = await resumeAll(to);
    await reception.makesImage();
  }),
);

Deno.test(
  "ImageReceiver pauses for bytes that make no sense, and keeps the pages before them",
  receiving(async (reception) => {
    const { source, receiver, to } = reception;
    await source.connectAndSwitch();
    source.encodePages(ALL.slice(0, 7));
    const good = source.stream.take();
    await source.flush(new Uint8Array([...good, 0xee, 0xee]));
    assertMatch((await reception.pauses()).message, /element/);
    assertEquals(receiver.pauseReason!.code, "BAD_PEER");
    await source.hear(() => false);
    assertEquals(source.heard.shuts, []); // a word would be the end at QEMU 11.1
    using again = await resumeAll(to);
    assertEquals(again.missing(), ALL.slice(7));
    await reception.makesImage();
  }),
);

Deno.test(
  "ImageReceiver forgets what block a channel was at when it broke",
  receiving(async (reception) => {
    await breakOff(reception, [0, 1]);
    const { to } = reception;
    const before = await reception.pauses();
    using source = new ResumingSource(to);
    await source.connect();
    assert(await source.ask());
    assert(await source.resume());
    source.encodePages([2, 3]);
    const bytes = source.stream.take();
    // Section head (5), record head (8): "ram" and its length go, the flag says the same block as before.
    const named = 5 + 8;
    const nameless = new Uint8Array([...bytes.subarray(0, named), ...bytes.subarray(named + 4)]);
    nameless[named - 1]! |= 0x20;
    await source.flush(nameless);
    assertMatch((await reception.pausesAgain(before)).message, /block/);
    using again = await resumeAll(to);
    assertEquals(again.missing(), ALL.slice(2));
    await reception.makesImage();
  }),
);

Deno.test(
  "ImageReceiver believes a source that comes again although the old connection seems well",
  receiving(async (reception) => {
    const { source, receiver, to } = reception;
    await source.connectAndSwitch();
    await source.sendPages(ALL.slice(0, 20));
    await until("the pages", () => receiver.statistics().received === 20);
    using again = await resumeAll(to);
    assertEquals(again.missing(), ALL.slice(20));
    await source.hear(() => false); // the old connection has ended
    assertEquals(source.heard.shuts, []);
    await reception.makesImage();
  }),
);

Deno.test(
  "ImageReceiver takes a recovery that replaces one which died without a word",
  receiving(async (reception) => {
    await breakOff(reception, ALL.slice(0, 3));
    using silent = new ResumingSource(reception.to);
    await silent.connect();
    assert(await silent.ask());
    using _again = await resumeAll(reception.to);
    await reception.makesImage();
  }),
);

Deno.test(
  "ImageReceiver stays paused whoever else connects",
  receiving(async (reception) => {
    await breakOff(reception, ALL.slice(0, 3));
    const { receiver, to } = reception;
    for (
      const text of ["GET / HTTP/1.1\r\n\r\n", "QEVM\0\0\0\x03", "\x08\0\x0a", "\x08\0\x0b\0\0xx"]
    ) {
      using stranger = await Socket.connect(to);
      await stranger.sendAll(new TextEncoder().encode(text));
      const gone = stranger.receive(new Uint8Array(1)).catch(() => 0);
      if (text.length > 3) assertEquals(await gone, 0);
    }
    assertEquals(receiver.status, "postcopy-paused");
    using _again = await resumeAll(to);
    await reception.makesImage();
  }),
);

Deno.test(
  "ImageReceiver pauses for a source that resumes another guest",
  receiving(async (reception) => {
    await breakOff(reception, ALL.slice(0, 3));
    const { to } = reception;
    const before = await reception.pauses();
    using other = new ResumingSource(to, { "pc.ram": 64 });
    await other.connect();
    assertEquals(await other.ask(), false);
    assertStringIncludes(
      (await reception.pausesAgain(before)).message,
      "see that it resumes the right guest: pc.ram",
    );
    using _again = await resumeAll(to);
    await reception.completes();
  }),
);

Deno.test(
  "ImageReceiver does not let a source resume that can still let the guest go on",
  receiving(async (reception) => {
    const { source, receiver, to } = reception;
    await source.connect();
    source.encodeAdvise();
    source.encodeBlocks();
    source.encodeSwitchover([{ kind: "ping", value: 0x42 }, { kind: "run" }]);
    await source.sendPages([0]);
    await until("a page", () => receiver.statistics().received === 1);
    await until("the switch", () => receiver.status === "postcopy-active");
    await assertRejects(() => receiver.pause(), Error, "the source can still take it back");
    using again = new ResumingSource(to);
    await again.connect();
    assertEquals(await again.ask(), false);
    assertEquals(receiver.status, "postcopy-active");
    await source.sendLast(ALL.slice(1));
    await reception.makesImage();
  }),
);

Deno.test(
  "ImageReceiver with every page here makes the image at once, and tells a source that comes again",
  receiving(async (reception) => {
    const { source, receiver, to } = reception;
    await source.connectAndSwitch();
    await source.sendPages(ALL);
    await until("the pages", () => receiver.statistics().received === PAGES);
    source[Symbol.dispose]();
    await reception.pauses();
    assertEquals([reception.files, receiver.holdsGuest], [["image"], false]);
    using again = await resumeAll(to);
    assertEquals(again.missing(), []);
    await reception.makesImage();
  }),
);

Deno.test(
  "ImageReceiver that is complete tells so to a source which comes again, not having heard it",
  receiving(async (reception) => {
    const { receiver, to } = reception;
    await breakOff(reception, ALL.slice(0, 9));
    const elsewhere = await receiver.recover(LOOPBACK);
    {
      using _heard = await resumeAll(to);
      await reception.completes();
    }
    for (const place of [to, elsewhere]) {
      using again = new ResumingSource(place);
      await again.connect();
      again.encodeRecovery();
      await again.flush();
      await within("the answer", again.listen(({ shuts }) => shuts.length > 0));
      assertEquals([again.heard.shuts, again.resuming.acks], [[0], []]);
    }
    await reception.assertImage();
  }),
);

Deno.test(
  "ImageReceiver with every page here completes when it is closed before its source has come again",
  receiving(async (reception) => {
    const { source, receiver } = reception;
    await source.connectAndSwitch();
    await source.sendPages(ALL);
    await until("the pages", () => receiver.statistics().received === PAGES);
    source[Symbol.dispose]();
    await reception.pauses();
    await receiver.close();
    await reception.completes();
    assertEquals([receiver.status, reception.files], ["completed", ["image"]]);
    await reception.assertImage();
  }),
);

Deno.test(
  "ImageReceiver does not take for moved a guest whose source left before it heard the end",
  receiving(async (reception) => {
    const { source, receiver } = reception;
    await source.connect();
    source.encodeAdvise();
    source.encodeBlocks();
    source.encodeSwitchover([{ kind: "ping", value: 0x42 }, { kind: "run" }]);
    await source.sendPages(ALL);
    await source.hear(({ pongs }) => pongs.includes(0x42));
    // QEMU 11.1 lets the guest go on when its connection breaks here.
    source.encodeEnd();
    const sent = source.flush();
    source[Symbol.dispose]();
    await sent;
    const { code, message } = await reception.fails();
    assertEquals(code, "CONNECTION_LOST");
    assertMatch(message, /see that the guest does not run on|may let the guest go on/);
    assertEquals(receiver.status, "failed");
  }),
);

Deno.test(
  "ImageReceiver has the pages sent again that a source did not send before its end",
  receiving(async (reception) => {
    const { source, to } = reception;
    await source.connectAndSwitch();
    await source.sendLast(ALL.slice(3));
    assertMatch(
      (await reception.pauses()).message,
      /without sending every page that it took back: 3$/,
    );
    using again = await resumeAll(to);
    assertEquals(again.missing(), [0, 1, 2]);
    await reception.makesImage();
  }),
);
