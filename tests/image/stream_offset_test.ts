import "../support/native.ts";
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { UsageError } from "../../migration/command/arguments.ts";
import { offsetArgument } from "../../server/command/command_line.ts";
import { ImageError } from "../../image/image_error.ts";
import { openImage } from "../../image/open_image.ts";
import {
  assertMemory,
  concat,
  deviceSection,
  makeCapture,
  PAGE,
  part,
  testPage,
  withDirectory,
} from "./captures.ts";
import { makeMappedRam } from "./mapped_ram_files.ts";
import { readMappedMemory, readMemory } from "./reference.ts";

const OFFSET = 1 << 20;

/** A stream of pages that no stream of another number has. */
function streamOf(number: number, early?: Uint8Array): Uint8Array {
  const blocks = [{ name: "pc.ram", usedLength: 16 * PAGE }];
  return makeCapture({ blocks, ...(early === undefined ? {} : { early }) }, (encoder) => {
    part(encoder, () => {
      encoder.block("pc.ram");
      for (let page = 0; page < 15; page++) {
        encoder.page(page * PAGE, testPage(number * 100 + page), 0);
      }
      encoder.zeroPage(15 * PAGE, number);
    });
  });
}

/** A file with bytes before a stream. */
function behind(stream: Uint8Array, before: Uint8Array = new Uint8Array(OFFSET)): Uint8Array {
  return concat(before, stream);
}

async function withFile(bytes: Uint8Array, use: (path: string) => Promise<void>): Promise<void> {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    await Deno.writeFile(path, bytes);
    await use(path);
  });
}

Deno.test("openImage gives every page of each stream in a file, and keeps an index of each", async () => {
  const first = streamOf(1);
  const padding = new Uint8Array(OFFSET - first.length);
  await withFile(concat(first, padding, streamOf(2)), async (path) => {
    for (const state of ["built", "reused"]) {
      using image = await openImage(path, { offset: OFFSET });
      assertMemory(image, readMemory(streamOf(2)));
      assertEquals(image.streamOffset, OFFSET);
      assertEquals(
        image.index,
        { state, path: `${path}.offset-${OFFSET}.postcopy-index` } as never,
      );
    }
  });
});

Deno.test("openImage takes no index of another stream of the same file", async () => {
  const first = streamOf(1);
  const bytes = concat(
    new Uint8Array(4096),
    first,
    new Uint8Array(OFFSET - 4096 - first.length),
    streamOf(2),
  );
  await withFile(bytes, async (path) => {
    const index = (offset: number) => `${path}.offset-${offset}.postcopy-index`;
    (await openImage(path, { offset: OFFSET })).close();
    await Deno.copyFile(index(OFFSET), index(4096));
    using image = await openImage(path, { offset: 4096 });
    const reason = "it was made from another image, or the image has changed";
    assertEquals([image.index!.state, image.index!.reason], ["built", reason]);
    assertMemory(image, readMemory(first));
  });
});

Deno.test("openImage gives a mapped-ram stream behind other bytes, whose offsets are the file's", async () => {
  const stored = new Map([[0, testPage(1)], [69, testPage(2)]]);
  const before = new Uint8Array(OFFSET);
  const { bytes } = makeMappedRam({ before, blocks: [{ name: "pc.ram", pages: 70, stored }] });
  await withFile(bytes, async (path) => {
    using image = await openImage(path, { offset: OFFSET });
    assertEquals(image.kind, "mapped-ram");
    assertMemory(image, readMappedMemory(bytes));
  });
});

Deno.test("openImage finds the memory behind early device sections of a stream at an offset", async () => {
  const early = deviceSection(3, "0000:00:02.0/virtio-mem", 1, Uint8Array.of(1, 2, 3));
  const stream = streamOf(4, early);
  await withFile(behind(stream), async (path) => {
    for (const state of ["built", "reused"]) {
      using image = await openImage(path, { offset: OFFSET });
      assertEquals(image.index!.state, state);
      assertEquals(image.earlySections, early as never);
      assertMemory(image, readMemory(stream));
    }
  });
});

Deno.test("openImage hints at the offset of a stream in a file of no known kind", async () => {
  for (const offset of [512, OFFSET, 100 * OFFSET]) {
    await withDirectory(async (directory) => {
      const path = `${directory}/image`;
      {
        using file = await Deno.create(path);
        await file.seek(offset, Deno.SeekMode.Start);
        await file.write(streamOf(5).subarray(0, 4096));
      }
      const { message } = await assertRejects(() => openImage(path), ImageError);
      assertStringIncludes(message, `say --offset ${offset}; else serve a stream`);
    });
  }
  await withFile(new Uint8Array(OFFSET), async (path) => {
    const { message } = await assertRejects(() => openImage(path), ImageError);
    assertEquals(message.includes("--offset"), false, message);
  });
});

Deno.test("openImage says what lies at an offset where no stream begins", async () => {
  await withFile(behind(streamOf(6)), async (path) => {
    const open = (offset: number) => assertRejects(() => openImage(path, { offset }), ImageError);
    const wrong = await open(OFFSET + 4);
    assertStringIncludes(wrong.message, `bytes 0000000307`);
    assertEquals([wrong.code, wrong.offset], ["not-an-image", OFFSET + 4]);
    const { size } = await Deno.stat(path);
    assertStringIncludes((await open(size)).message, `byte ${size} of an image that has ${size}`);
    assertStringIncludes((await open(size - 2)).message, "No stream of QEMU");
    assertStringIncludes((await open(2 ** 52)).message, "No stream at byte");
  });
});

Deno.test("openImage says of a partial file that receive has not completed it", async () => {
  await withDirectory(async (directory) => {
    for (const name of ["vm.img.partial-4711", "vm.img.partial-4711-2"]) {
      const path = `${directory}/${name}`;
      await Deno.writeFile(path, behind(streamOf(7)));
      const { code, message } = await assertRejects(() => openImage(path), ImageError);
      assertEquals(code, "not-an-image");
      assertStringIncludes(message, "Image that receive has not completed");
      assertEquals(/offset|raw memory/.test(message), false, message);
    }
  });
});

Deno.test("offsetArgument takes offsets as QEMU does", () => {
  assertEquals(offsetArgument({}), undefined);
  for (
    const [text, bytes] of [["0", 0], ["1M", OFFSET], ["4096", 4096], ["0x10000", 65536]] as const
  ) {
    assertEquals(offsetArgument({ offset: text }), bytes);
  }
  for (const text of ["-1", "1T2", "0x", "one"]) {
    try {
      offsetArgument({ offset: text });
    } catch (error) {
      if (error instanceof UsageError) continue;
    }
    throw new Error(`Taken for an offset: ${text}`);
  }
});
