/** Sources that compress, received into images. */
import "../support/native.ts";
import { assertEquals, assertGreater, assertMatch } from "@std/assert";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import type { CompressionMethod } from "../../migration/compression.ts";
import { EXTENSION_COOKIE } from "../../migration/protocol/extensions.ts";
import { openImage } from "../../image/open_image.ts";
import { packer } from "../destination/packer.ts";
import { type Coding, ScriptedMemory } from "../destination/scripted_memory.ts";
import { HostileSource } from "../hostile/scripted_source.ts";
import { withDirectory } from "../image/captures.ts";
import { until, within } from "../support/deadline.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { Random } from "../support/random.ts";
import { assertImageMemory } from "./memory_model.ts";
import { ALL, receiving } from "./received.ts";

const BLOCKS = { ram: 500, rom: 40 };

/** A receiver, and a source that has announced how it compresses, and its blocks. */
async function withReceiver(
  decompressThreads: number,
  method: CompressionMethod,
  test: (
    receiver: ImageReceiver,
    source: HostileSource,
    memory: ScriptedMemory,
    path: string,
  ) => Promise<void>,
): Promise<void> {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    await using receiver = new ImageReceiver({ path, decompressThreads });
    using source = new HostileSource(await receiver.listen(LOOPBACK), BLOCKS);
    const memory = new ScriptedMemory(source, BLOCKS);
    await source.connect();
    source.encodeAdvise();
    if (method === "zstd") source.stream.command({ kind: "extensions", names: ["zstd"] });
    source.encodeBlocks();
    await test(receiver, source, memory, path);
  });
}

/** Compares an image with what it must hold. */
async function assertImage(path: string, { blocks, bytes }: ScriptedMemory): Promise<void> {
  using image = await openImage(path);
  let at = 0;
  const expected = Object.entries(blocks).map(([name, pages]) => {
    const memory = bytes.subarray(at, at += pages * 4096);
    return [name, memory] as const;
  });
  assertImageMemory(image, new Map(expected));
}

for (const method of ["zlib", "zstd"] as const) {
  for (const threads of [0, 1, 2, 8]) {
    for (const postcopy of [false, true]) {
      if (postcopy !== (threads % 2 === 0)) continue;
      const how = postcopy ? "precopy, discards and postcopy" : "precopy alone";
      Deno.test(
        `ImageReceiver with ${threads} threads writes every page of ${method}, by ${how}`,
        () =>
          withReceiver(threads, method, async (receiver, source, memory, path) => {
            const random = new Random(threads);
            const all = Array.from({ length: memory.pages }, (_, page) => page);
            memory.write(all, 1, method);
            let version = 2;
            // A thread that decompresses has begun: a busy machine lets it wait, and then the reader
            // decompresses.
            await until("a decompression thread", async () => {
              memory.write(all.slice(0, 10), version++, method);
              await source.flush();
              const used = receiver.statistics().decompression?.threads;
              return threads === 0 || (used?.some((each) => each["cpu-time"] > 0) ?? false);
            });
            for (const end = version + 58; version < end; version++) {
              // Few of the pages again and again, others now and then.
              const most = random.oneIn(3) ? 10 : memory.pages;
              const pages = all.filter((page) => page < most && random.oneIn(4));
              const coding: Coding = random.oneIn(3) ? "plain" : method;
              memory.write(pages, random.oneIn(4) ? 0 : version, coding);
              if (random.oneIn(3)) memory.writeDifference(pages.slice(0, 5), version);
              await source.flush();
            }
            if (postcopy) {
              const gone = all.filter(() => random.oneIn(2));
              memory.discard(gone);
              memory.switchOver();
              for (const page of gone) memory.write([page], version + page % 9, method);
              source.encodeEnd();
            } else memory.endPrecopy();
            await source.flush();
            await within("the image", receiver.finished);
            await assertImage(path, memory);
            const { decompression, received, duplicates } = receiver.statistics();
            assertEquals({ received, duplicates }, { received: memory.pages, duplicates: 0 });
            assertEquals([decompression!.method, decompression!.threads.length], [method, threads]);
            assertGreater(decompression!.pages, 1000);
          }),
      );
    }
  }

  Deno.test(`ImageReceiver names the page of ${method} that is damaged, and makes no image`, async () => {
    using pack = packer(method);
    const damaged = pack(new Uint8Array(4096).fill(9));
    damaged[damaged.length - 1]! ^= 0xff;
    for (const postcopy of [false, true]) {
      await withReceiver(2, method, async (receiver, source, memory) => {
        memory.write([1, 2, 3, 4, 5], 1, method);
        if (postcopy) {
          memory.switchOver();
          await source.flush();
          await until("the switch", () => receiver.status === "postcopy-active");
        }
        const { stream } = source;
        stream.sectionPart(2);
        stream.block("rom");
        stream.compressedPage(7 * 4096, damaged, 0, damaged.length);
        stream.endOfSection();
        await source.flush();
        const failed = postcopy
          ? until("the pause", () => receiver.pauseReason !== undefined)
            .then(() => receiver.pauseReason!)
          : receiver.finished.then(() => new Error("It completed"), (error) => error);
        const { message, code } = await within("the failure", failed);
        const where =
          `Page of RAM block rom at 28672 cannot be decompressed (${method}): it is dam`;
        assertEquals([message.slice(0, where.length), code], [where, "BAD_PEER"]);
      });
    }
  });
}

Deno.test(
  "ImageReceiver lists its extensions for a source that asks, and refuses others",
  receiving(async (reception) => {
    const { source } = reception;
    await source.connect();
    source.stream.header();
    source.stream.configuration({ machine: "mine" });
    source.stream.command({ kind: "open-return-path" });
    source.stream.command({ kind: "ping", value: 1 });
    await source.flush();
    await source.hear(({ pongs }) => pongs.length === 1);
    assertEquals(source.heard.extensions, []);
    source.stream.command({ kind: "ping", value: EXTENSION_COOKIE });
    await source.flush();
    await source.hear(({ pongs }) => pongs.length === 2);
    assertEquals(source.heard.extensions, [
      "zstd",
      "compress-postcopy",
      "absent-pages",
      "absent-behind-pages",
    ]);
    source.stream.command({ kind: "extensions", names: ["lz4"] });
    await source.flush();
    const { code, message } = await reception.fails();
    assertMatch(message, /^Source uses an extension that is not known here.*: lz4/);
    assertEquals([code, reception.files], ["UNSUPPORTED", []]);
  }),
);

Deno.test(
  "ImageReceiver that is closed while compressed pages arrive leaves nothing behind",
  receiving(async (reception) => {
    const { source, receiver } = reception;
    const memory = new ScriptedMemory(source, { ram: ALL.length });
    await source.connect();
    source.encodeAdvise();
    source.encodeBlocks();
    for (let version = 1; version < 200; version++) memory.write(ALL, version, "zlib");
    const sending = source.flush();
    await until("some pages", () => (receiver.statistics().decompression?.pages ?? 0) > 0);
    await receiver.close();
    await sending;
    assertEquals(reception.files, []);
  }),
);
