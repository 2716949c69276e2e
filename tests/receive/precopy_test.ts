/** Sources that send all memory before the guest stops, and what they are told. */
import "../support/native.ts";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { encodeWorkloadState } from "../../workload/device_state.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { PATTERN } from "../hostile/scripted_source.ts";
import { until, within } from "../support/deadline.ts";
import { ALL, assertFigures, PAGES, receiving, type Reception } from "./received.ts";

const DESCRIPTION = JSON.stringify({
  page_size: 4096,
  devices: [{ name: "postcopy-workload", instance_id: 0, version: 1 }],
});

/** Encodes device state and description; without it, only the connection's end tells that it is all. */
function encodeDevices({ source }: Reception, described = true): void {
  const { stream } = source;
  const devices = encodeWorkloadState({ ...PATTERN, pages: PAGES });
  const json = new TextEncoder().encode(DESCRIPTION);
  stream.sectionEnd(2);
  stream.endOfSection();
  stream.sectionFooter(2);
  stream.deviceState(devices, 0, devices.length);
  stream.endOfStream();
  if (!described) return;
  stream.vmDescription(json.length);
  stream.vmDescriptionData(json, 0, json.length);
}

/** Encodes all pages, and what follows them: see {@linkcode encodeDevices}. */
function encodeAll(reception: Reception, described?: boolean): void {
  reception.source.encodePages(ALL);
  encodeDevices(reception, described);
}

/** Sends all of a stream. */
async function sendAll(reception: Reception, listens: boolean): Promise<void> {
  await reception.begins(listens);
  encodeAll(reception);
  await reception.source.flush();
}

Deno.test(
  "ImageReceiver says nothing to a source without a return path",
  receiving(async (reception) => {
    const { source } = reception;
    await sendAll(reception, false);
    await reception.completes();
    await Promise.all([reception.receiver.close(), source.hear(() => false)]);
    const { heard: said, resuming: { bitmaps, acks } } = source;
    assertEquals([said, bitmaps.size, acks], [
      { pongs: [], requests: [], shuts: [], extensions: [] },
      0,
      [],
    ]);
    await reception.assertImage();
  }),
);

Deno.test(
  "ImageReceiver says SHUT 0 to a source that listens, once the image is there",
  receiving(async (reception) => {
    const { source } = reception;
    await sendAll(reception, true);
    await source.hear(({ shuts }) => shuts.length > 0);
    assertEquals([reception.files, source.heard.shuts], [["image"], [0]]);
    await reception.makesImage();
  }),
);

for (const described of [true, false]) {
  Deno.test(
    `ImageReceiver completes for a source without a return path that closes at the end, ${
      described ? "with" : "without"
    } a description`,
    receiving(async (reception) => {
      const { source, receiver } = reception;
      await reception.begins(false);
      encodeAll(reception, described);
      const stream = source.stream.take();
      await source.flush(stream.subarray(0, -1));
      // In one turn with the last byte: the source is gone before the receiver looks whether it is.
      const sent = source.flush(stream.subarray(-1));
      source.main.shutdown();
      await sent;
      await reception.completes();
      assertEquals([reception.files, receiver.status], [["image"], "completed"]);
      await reception.assertImage();
    }),
  );
}

Deno.test(
  "ImageReceiver makes no image of a stream without a return path that ends too soon",
  receiving(async (reception) => {
    const { source } = reception;
    await reception.begins(false);
    encodeAll(reception, false);
    await source.flush(source.stream.take().subarray(0, -20)); // in the middle of the device state
    source[Symbol.dispose]();
    const { code, message } = await reception.fails();
    assertEquals([code, reception.files], ["CONNECTION_LOST", []]);
    assertMatch(message, /: main channel: it closed the connection: /);
  }),
);

Deno.test(
  "ImageReceiver takes the last content of a page, zero or not",
  receiving(async (reception) => {
    const { source, receiver } = reception;
    await reception.begins(false);
    source.encodePages(ALL, 1);
    source.encodePages(ALL.slice(0, 30));
    source.encodePages(ALL.slice(10));
    source.stream.sectionPart(2);
    source.stream.block("ram");
    for (const page of [3, 4, 40]) source.stream.zeroPage(page * 4096, 0);
    source.stream.endOfSection();
    source.stream.sectionFooter(2);
    encodeDevices(reception);
    await source.flush();
    await reception.completes();
    assertFigures(receiver, { received: PAGES, unnamed: 0, duplicates: 0 });
    await reception.assertImage([3, 4, 40]);
  }),
);

Deno.test(
  "ImageReceiver counts pages that never came, and takes them for zero",
  receiving(async (reception) => {
    const { source, receiver } = reception;
    await reception.begins(false);
    source.encodePages(ALL.slice(5));
    encodeDevices(reception);
    await source.flush();
    await reception.completes();
    assertFigures(receiver, { received: PAGES - 5, unnamed: 5 });
    await reception.assertImage([0, 1, 2, 3, 4]);
  }),
);

Deno.test(
  "ImageReceiver keeps the source's own description",
  receiving(async (reception) => {
    await sendAll(reception, false);
    await reception.completes();
    assertStringIncludes(await Deno.readTextFile(reception.path), DESCRIPTION);
  }),
);

Deno.test(
  "ImageReceiver leaves nothing behind when the source vanishes while it copies",
  receiving(async (reception) => {
    const { source, receiver } = reception;
    await reception.begins(true);
    await source.sendPages(ALL);
    await until("the pages", () => receiver.statistics().received === PAGES);
    assertEquals(reception.files.length, 1);
    source[Symbol.dispose]();
    const { code, message } = await reception.fails();
    assertEquals(code, "CONNECTION_LOST");
    assertMatch(message, /: no image was made, and the guest is unharmed at the source$/);
    assertEquals(reception.files, []);
  }),
);

Deno.test(
  "ImageReceiver makes no image for a source that went away before it heard the end",
  receiving(async (reception) => {
    const { source } = reception;
    await reception.begins(true);
    encodeAll(reception);
    const sent = source.flush();
    source.main.shutdown(); // in one turn with the last byte: the disk takes longer than that
    await sent;
    const { code } = await reception.fails();
    assertEquals([code, reception.files], ["CONNECTION_LOST", []]);
  }),
);

Deno.test(
  "ImageReceiver tells a source that it was cancelled, and what became of the guest",
  receiving(async (reception) => {
    const { source, receiver } = reception;
    await reception.begins(true);
    await source.sendPages(ALL);
    await until("the pages", () => receiver.statistics().received === PAGES);
    await Promise.all([receiver.close(), source.hear(({ shuts }) => shuts.length > 0)]);
    assertEquals(source.heard.shuts, [1]);
    const { code, message } = await reception.fails();
    assertEquals(code, "CANCELLED");
    assertMatch(message, /^Receiver was closed: no image was made, and the guest is unharmed/);
    assertEquals(reception.files, []);
  }),
);

const abort = new AbortController();
Deno.test(
  "ImageReceiver ends with the signal's reason when nobody has come",
  receiving(async (reception) => {
    const reason = new MigrationError("CANCELLED", "Enough");
    abort.abort(reason);
    assertEquals(await reception.fails(), reason as Error);
    await within("the receiver to close", reception.receiver.close());
    assertEquals(reception.files, []);
  }, { signal: abort.signal }),
);

Deno.test(
  "ImageReceiver refuses what is no stream, and leaves nothing behind",
  receiving(async (reception) => {
    const { source } = reception;
    await source.connect();
    await source.flush(new TextEncoder().encode("QEVM\0\0\0\x09 and so on"));
    const { code } = await reception.fails();
    assertEquals([code, reception.files], ["BAD_PEER", []]);
  }),
);
