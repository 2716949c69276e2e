/** Sources that switch to postcopy, in every order of events. */
import "../support/native.ts";
import { assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { Socket } from "../../ffi/socket.ts";
import { ImageError } from "../../image/image_error.ts";
import { openImage } from "../../image/open_image.ts";
import type { Command } from "../../migration/protocol/command.ts";
import { joinPackage } from "../../migration/protocol/package.ts";
import { encodeWorkloadState } from "../../workload/device_state.ts";
import { PATTERN } from "../hostile/scripted_source.ts";
import { until } from "../support/deadline.ts";
import { ALL, assertFigures, PAGES, receiving, type Reception } from "./received.ts";

const PACKAGE_LOADED: readonly Command[] = [
  { kind: "ping", value: 3 },
  { kind: "ping", value: 0x42 },
  { kind: "run" },
];

/** Connects and switches as QEMU 10.2 and later do. */
async function switchWaiting({ source }: Reception): Promise<void> {
  await source.connect();
  source.encodeAdvise();
  source.encodeBlocks();
  source.encodeSwitchover(PACKAGE_LOADED);
  await source.flush();
}

Deno.test(
  "ImageReceiver answers every PING and says SHUT 0 once the image is there",
  receiving(async (reception) => {
    const { source, receiver } = reception;
    await source.connectAndSwitch();
    await source.sendLast(ALL);
    await source.hear(({ shuts }) => shuts.length > 0);
    assertEquals(reception.files, ["image"]);
    assertEquals([source.heard.shuts, source.heard.requests], [[0], []]);
    assertEquals(source.heard.pongs.toSorted(), [1, 3, 4]);
    await reception.completes();
    assertFigures(receiver, { status: "completed", pages: PAGES, received: PAGES, unnamed: 0 });
    await reception.assertImage();
  }),
);

Deno.test(
  "ImageReceiver takes pages of both channels",
  receiving(async (reception) => {
    const { source } = reception;
    await source.connect();
    await source.connectPreempt();
    await source.switchOver();
    await source.hear(({ pongs }) => pongs.includes(3));
    await source.sendUrgent(ALL.slice(0, 20));
    await source.sendPages(ALL.slice(20, 40));
    await source.sendUrgent(ALL.slice(40, 50));
    await source.sendLast(ALL.slice(50));
    await reception.makesImage();
  }),
);

Deno.test(
  "ImageReceiver waits for urgent pages that the end on the main channel overtook",
  receiving(async (reception) => {
    const { source, receiver } = reception;
    await source.connect();
    await source.connectPreempt();
    await source.switchOver();
    await source.sendLast(ALL.slice(1));
    await until("the end to be read", () => receiver.statistics().remaining === 1);
    await source.sendUrgent([0]);
    await reception.makesImage();
  }),
);

Deno.test(
  "ImageReceiver lets a source that waits for its device state go only when every page is here",
  receiving(async (reception) => {
    const { source, receiver } = reception;
    await switchWaiting(reception);
    await source.sendPages(ALL.slice(1));
    await source.hear(({ pongs }) => pongs.includes(4));
    await until("all pages but one", () => receiver.statistics().remaining === 1);
    assertEquals([source.heard.pongs.includes(0x42), receiver.holdsGuest], [false, false]);
    await source.sendPages([0]);
    await source.hear(({ pongs }) => pongs.includes(0x42));
    assertEquals(receiver.holdsGuest, true);
    source.encodeEnd();
    await source.flush();
    await reception.makesImage();
  }),
);

Deno.test(
  "ImageReceiver takes pages that it did not know were to come, up to the end",
  receiving(async (reception) => {
    const { source, receiver } = reception;
    await source.connect();
    source.encodeAdvise();
    source.encodeBlocks();
    const devices = encodeWorkloadState({ ...PATTERN, pages: PAGES });
    const contents = joinPackage({ before: [{ kind: "listen" }], devices, after: PACKAGE_LOADED });
    source.stream.packaged(contents.length);
    source.stream.packagedData(contents, 0, contents.length);
    await source.sendPages(ALL.slice(1));
    await until("the pages", () => receiver.statistics().received === PAGES - 1);
    // Nothing was taken back, and not all is here: the source must not be let go yet.
    source.encodePages([0]);
    source.stream.command({ kind: "ping", value: 9 });
    await source.flush();
    await source.hear(({ pongs }) => pongs.includes(9));
    assertEquals(source.heard.pongs.slice(0, 3), [1, 3, 9]); // the last may be here, too
    await source.hear(({ pongs }) => pongs.includes(0x42));
    source.encodeEnd();
    await source.flush();
    await reception.completes();
    assertFigures(receiver, { received: PAGES, unnamed: 0 });
    await reception.assertImage();
  }),
);

Deno.test(
  "ImageReceiver leaves nothing behind when a source vanishes that can still let the guest go on",
  receiving(async (reception) => {
    const { source } = reception;
    await switchWaiting(reception);
    await source.sendPages(ALL.slice(1));
    await source.hear(({ pongs }) => pongs.includes(3));
    source[Symbol.dispose]();
    const { code, message } = await reception.fails();
    assertEquals(code, "CONNECTION_LOST");
    assertMatch(message, /no image was made, and the guest is unharmed at the source$/);
    assertEquals(reception.files, []);
  }),
);

Deno.test(
  "ImageReceiver keeps a complete file whose source vanished after it was let go",
  receiving(async (reception) => {
    const { source, receiver } = reception;
    await switchWaiting(reception);
    await source.sendPages(ALL);
    await source.hear(({ pongs }) => pongs.includes(0x42));
    source[Symbol.dispose]();
    const { message } = await reception.fails();
    assertStringIncludes(message, "see that the guest does not run on at the source, then rename");
    assertStringIncludes(message, receiver.partialPath);
    await Deno.rename(receiver.partialPath, reception.path);
    await reception.assertImage();
  }),
);

Deno.test(
  "ImageReceiver completes for a source that has switched and is gone before it hears the end",
  receiving(async (reception) => {
    const { source, receiver } = reception;
    await source.connectAndSwitch();
    source.encodePages(ALL);
    source.encodeEnd();
    const stream = source.stream.take();
    await source.flush(stream.subarray(0, -1));
    await until("the pages", () => receiver.statistics().received === PAGES);
    // In one turn with the last byte. The answers that it has not read make the kernel reset the
    // connection: nothing can be said to it any more.
    const sent = source.flush(stream.subarray(-1));
    source[Symbol.dispose]();
    await sent;
    await reception.completes();
    assertEquals(receiver.status, "completed");
    await reception.assertImage();
  }),
);

Deno.test(
  "ImageReceiver names the pages that a source took back and did not send again",
  receiving(async (reception) => {
    const { source, receiver } = reception;
    await source.connectAndSwitch();
    await source.sendLast(ALL.slice(3));
    await source.hear(({ shuts }) => shuts.length > 0);
    assertEquals(source.heard.shuts, []); // it may send them yet
    assertEquals((await reception.pauses()).code, "PAGES_MISSING");
    const failed = reception.fails();
    await receiver.close();
    const { message } = await failed;
    assertStringIncludes(message, "3 of 64 pages are missing. Leave the source as it is and take");
    assertStringIncludes(message, `postcopy receive --recover ${receiver.partialPath} --listen`);
    assertEquals(reception.files, [receiver.partialPath.replace(/.*\//, "")]);
    // Nobody takes it for an image.
    await assertRejects(() => openImage(receiver.partialPath), ImageError, "lacks pages");
  }),
);

Deno.test(
  "ImageReceiver keeps what came when the source vanishes after the switch",
  receiving(async (reception) => {
    const { source, receiver } = reception;
    await source.connectAndSwitch();
    await source.sendPages(ALL.slice(0, 10));
    await until("ten pages", () => receiver.statistics().remaining === PAGES - 10);
    assertEquals(receiver.holdsGuest, true);
    source[Symbol.dispose]();
    assertEquals((await reception.pauses()).code, "CONNECTION_LOST");
    const failed = reception.fails();
    await receiver.close();
    const { message } = await failed;
    assertStringIncludes(message, "54 of 64 pages are missing");
    assertEquals(reception.files.length, 1);
  }),
);

Deno.test(
  "ImageReceiver forgets what precopy brought of pages that the source takes back",
  receiving(async (reception) => {
    const { source, receiver } = reception;
    await source.connect();
    source.encodeAdvise();
    source.encodeBlocks();
    source.encodePages(ALL, 1);
    source.encodeSwitchover();
    await source.sendLast(ALL);
    await reception.completes();
    assertFigures(receiver, { received: PAGES, duplicates: 0, remaining: 0 });
    await reception.assertImage();
  }),
);

Deno.test(
  "ImageReceiver keeps the first of two contents of a page after the switch",
  receiving(async (reception) => {
    const { source, receiver } = reception;
    await source.connectAndSwitch();
    source.encodePages(ALL);
    await source.sendLast([1, 2, 2], 1);
    await reception.completes();
    assertFigures(receiver, { received: PAGES, duplicates: 3 });
    await reception.assertImage();
  }),
);

Deno.test(
  "ImageReceiver pays no heed to strangers who connect",
  receiving(async (reception) => {
    const { source, receiver, to } = reception;
    await source.connect();
    using strangers = new DisposableStack();
    const greetings = ["", "GET / HTTP/1.1\r\n\r\n", "QEVM\0\0\0\x03", "\0\0\0\0"];
    const visit = async () => {
      for (const text of greetings) {
        const stranger = strangers.use(await Socket.connect(to));
        await stranger.sendAll(new TextEncoder().encode(text));
      }
    };
    source.encodeAdvise();
    await source.flush();
    await source.hear(({ pongs }) => pongs.includes(1));
    await visit();
    source.encodeBlocks();
    source.encodeSwitchover();
    await source.flush();
    await source.hear(({ pongs }) => pongs.includes(3));
    await visit();
    await source.connectPreempt();
    await source.sendUrgent(ALL.slice(0, 20));
    await until("urgent pages", () => receiver.statistics().remaining === PAGES - 20);
    await source.sendLast(ALL.slice(20));
    await reception.makesImage();
  }),
);
