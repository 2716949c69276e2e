/** Migrations into an image that are paused from this side, ended while they are paused, or cannot be written. */
import "../support/native.ts";
import { assert, assertEquals, assertLess, assertMatch, assertRejects } from "@std/assert";
import { until } from "../support/deadline.ts";
import { limitFiles } from "../support/file_limit.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { needsCommand, testUnless } from "../support/skip.ts";
import { ALL, assertFigures, PAGES, receiving } from "./received.ts";
import { breakOff, resumeAll, ResumingSource } from "./resuming_source.ts";

Deno.test(
  "ImageReceiver pauses when it is told to, and not before the switch",
  receiving(async (reception) => {
    const { source, receiver, to } = reception;
    await assertRejects(
      () => receiver.pause(),
      Error,
      "Cannot pause before the guest has switched",
    );
    await assertRejects(() => receiver.recover(), Error, "only while it is postcopy-paused: setup");
    await source.connectAndSwitch();
    await source.hear(({ pongs }) => pongs.includes(4));
    await receiver.pause();
    assertEquals([receiver.status, receiver.pauseReason?.code], ["postcopy-paused", "CANCELLED"]);
    await source.hear(() => false);
    assertEquals(source.heard.shuts, []);
    assertEquals(await receiver.recover(), to);
    using recovering = new ResumingSource(to);
    await recovering.connect();
    assert(await recovering.ask());
    await until("the recovery", () => receiver.status === "postcopy-recover");
    await assertRejects(() => receiver.pause(), Error, "Cannot pause while the source resumes");
    recovering[Symbol.dispose]();
    await reception.pauses();
    using _again = await resumeAll(to);
    await reception.completes();
  }),
);

Deno.test(
  "ImageReceiver waits for its source at another address too",
  receiving(async (reception) => {
    await breakOff(reception, ALL.slice(0, 3));
    const { receiver } = reception;
    const elsewhere = await receiver.recover(LOOPBACK);
    assertEquals(receiver.addresses, [reception.to, elsewhere]);
    using source = new ResumingSource(elsewhere);
    await source.connect();
    assert(await source.ask());
    source[Symbol.dispose]();
    await reception.pauses();
    using _again = await resumeAll(reception.to); // the old one is as good
    await reception.makesImage();
  }),
);

Deno.test(
  "ImageReceiver closed while it is paused says where the guest is, and keeps what came",
  receiving(async (reception) => {
    await breakOff(reception, ALL.slice(0, 10));
    const failed = reception.fails();
    await reception.receiver.close();
    const { code, message } = await failed;
    assertEquals(code, "CANCELLED");
    assertMatch(
      message,
      /it keeps it stopped, with all of its memory, .* 54 of 64 pages are missing/,
    );
    assertEquals(reception.files.length, 1);
  }),
);

testUnless(
  needsCommand("prlimit", "util-linux"),
  "ImageReceiver says what is in the file, and not before the file could take it",
  receiving(async (reception) => {
    const { source, receiver, to } = reception;
    await source.connectAndSwitch();
    await source.hear(({ pongs }) => pongs.includes(4));
    const ignore = () => {};
    Deno.addSignalListener("SIGXFSZ", ignore);
    limitFiles((1 << 20) + 40_960); // pages begin at 1 MiB
    using again = new ResumingSource(to);
    try {
      await source.sendPages(ALL.slice(0, 40));
      await until("the wait", () => receiver.waitReason !== undefined);
      source[Symbol.dispose]();
      await again.connect();
      again.encodeRecovery();
      await again.flush();
      assertEquals(receiver.status, "postcopy-active"); // the break is looked at when it can write
    } finally {
      limitFiles("unlimited");
      Deno.removeSignalListener("SIGXFSZ", ignore);
    }
    assert(await again.listen((_, { bitmaps }) => bitmaps.size > 0));
    // What was left in the socket may be lost; what was held back, behind the ten pages of room, is not.
    const missing = again.missing();
    assertEquals(missing.slice(-24), ALL.slice(40));
    assertLess(missing.length, PAGES - 10);
    assert(await again.resume());
    await again.sendLast(missing);
    await reception.completes();
    assertFigures(receiver, { received: PAGES, duplicates: 0 });
    await reception.assertImage();
  }),
);
