import "../support/native.ts";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { crc32, deflateSync } from "node:zlib";
import { MappedFile } from "../../ffi/mapped_file.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import type { Image } from "../../image/image.ts";
import { openImage } from "../../image/open_image.ts";
import {
  checkIndex,
  encodeIndexHeader,
  identifyImage,
  type IndexHeader,
} from "../../image/capture/index_file.ts";
import { closeAgainAndAgain } from "../support/closing.ts";
import { assertMemory, makeCapture, PAGE, part, testPage, withDirectory } from "./captures.ts";
import { type Memory, readMemory } from "./reference.ts";

/** A stream with pages of its own in the index. */
function capture(variant = 0): Uint8Array {
  const blocks = [{ name: "pc.ram", usedLength: 40 * PAGE }];
  return makeCapture({ blocks }, (encoder) => {
    part(encoder, () => {
      encoder.block("pc.ram");
      for (let page = 0; page < 30; page++) encoder.page(page * PAGE, testPage(page + variant), 0);
      encoder.xbzrlePage(PAGE, Uint8Array.of(1, 1, 7), 0, 3);
      const packed = deflateSync(new Uint8Array(PAGE).fill(variant + 1));
      encoder.compressedPage(2 * PAGE, packed, 0, packed.length);
      encoder.zeroPage(35 * PAGE, 0);
    });
  });
}

/** Opens, compares with what is expected, and closes. */
async function openAndCheck(path: string, expected: Memory): Promise<Image> {
  using image = await openImage(path);
  assertMemory(image, expected);
  return image;
}

/** Makes an image and its index, and gives their names and the image's memory. */
async function withImage(
  use: (path: string, index: string, expected: Memory) => Promise<void>,
): Promise<void> {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    await Deno.writeFile(path, capture());
    const expected = readMemory(capture());
    const { index } = await openAndCheck(path, expected);
    assertEquals(index, { state: "built", path: `${path}.postcopy-index` });
    await use(path, index!.path, expected);
    const files = [...Deno.readDirSync(directory)].map(({ name }) => name).sort();
    assertEquals(files, ["image", "image.postcopy-index"]);
  });
}

Deno.test("openImage makes the index anew when the image's time changed", async () => {
  await withImage(async (path, _index, expected) => {
    await Deno.utime(path, new Date(), new Date(1e12));
    const { index } = await openAndCheck(path, expected);
    assertEquals(index!.state, "built");
    assertMatch(index!.reason!, /changed/);
    assertEquals((await openAndCheck(path, expected)).index!.state, "reused");
  });
});

Deno.test("openImage makes the index anew for another image of the same size and time", async () => {
  await withImage(async (path) => {
    const { mtime } = await Deno.stat(path);
    await Deno.writeFile(path, capture(100));
    await Deno.utime(path, mtime!, mtime!);
    const { index } = await openAndCheck(path, readMemory(capture(100)));
    assertEquals(index!.state, "built");
  });
});

Deno.test("openImage keeps the index of an image that moved with it", async () => {
  await withImage(async (path, index, expected) => {
    await Deno.mkdir(`${path}-dir`);
    await Deno.rename(path, `${path}-dir/other`);
    await Deno.rename(index, `${path}-dir/other.postcopy-index`);
    assertEquals((await openAndCheck(`${path}-dir/other`, expected)).index!.state, "reused");
    await Deno.rename(`${path}-dir/other`, path);
    await Deno.rename(`${path}-dir/other.postcopy-index`, index);
    await Deno.remove(`${path}-dir`);
  });
});

Deno.test("openImage makes a damaged index anew, whichever bit is wrong", async () => {
  await withImage(async (path, index, expected) => {
    const good = await Deno.readFile(index);
    const table = 4096;
    const pages = table + PAGE; // 64 entries, rounded up
    const sums = pages + 2 * PAGE;
    const contents = sums + 2 * 4;
    const places: number[] = [];
    for (let at = 0; at < 256; at++) places.push(at);
    for (let at = table; at < table + 64 * 8; at += 5) places.push(at);
    for (let at = pages; at < sums; at += 101) places.push(at);
    for (let at = sums; at < contents; at++) places.push(at);
    for (let at = contents; at < good.length; at += 13) places.push(at);
    for (const at of places) {
      const bytes = good.slice();
      bytes[at]! ^= 1 << (at % 8);
      await Deno.writeFile(index, bytes);
      const found = (await openAndCheck(path, expected)).index!;
      assertEquals(found.state, "built", `byte ${at}`);
      assert(found.reason !== undefined);
    }
  });
});

Deno.test("openImage makes an index anew that is cut off, empty or something else", async () => {
  await withImage(async (path, index, expected) => {
    const good = await Deno.readFile(index);
    const others = [
      new Uint8Array(0),
      good.slice(0, 100),
      good.slice(0, 4096),
      good.slice(0, 8192),
      good.slice(0, good.length - 1),
      new Uint8Array([...good, 0]),
      testPage(5),
      await Deno.readFile(path),
    ];
    for (const bytes of others) {
      await Deno.writeFile(index, bytes);
      assertEquals((await openAndCheck(path, expected)).index!.state, "built");
      assertEquals((await openAndCheck(path, expected)).index!.state, "reused");
    }
  });
});

Deno.test("openImage makes an index of an older version anew, which has no checksums", async () => {
  await withImage(async (path, index, expected) => {
    const bytes = await Deno.readFile(index);
    const view = new DataView(bytes.buffer);
    view.setUint32(8, 1, true);
    view.setUint32(252, crc32(bytes.subarray(0, 252)), true);
    await Deno.writeFile(index, bytes);
    const found = (await openAndCheck(path, expected)).index!;
    assertEquals([found.state, found.reason], ["built", "its format is of version 1"]);
  });
});

Deno.test("checkIndex refuses a table that points outside of the files", async () => {
  await withImage(async (path, index) => {
    const { size: imageSize, mtime } = await Deno.stat(path);
    using image = MappedFile.open(path, imageSize);
    const identity = identifyImage(image, mtime!.getTime(), 0);
    const good = await Deno.readFile(index);
    const check = (bytes: Uint8Array): IndexHeader | string => {
      using memory = MappedMemory.anonymous(bytes.length);
      memory.bytes().set(bytes);
      const checked = checkIndex(memory, identity);
      if (typeof checked === "string") return checked;
      checked.table.close();
      return checked.header;
    };
    const header = check(good);
    assert(typeof header !== "string");
    const { size, pagesOffset } = header;
    const inIndex = 2n ** 63n;
    const cases: [bigint, boolean][] = [
      [0n, true],
      [1n, true],
      [2n, false],
      [7n, false],
      [8n, true],
      [BigInt(size) - 4096n, true],
      [BigInt(size) - 4095n, false],
      [BigInt(size), false],
      [2n ** 32n, false],
      [2n ** 32n + 8n, false],
      [2n ** 53n, false],
      [inIndex, false],
      [inIndex + 4096n, false],
      [inIndex + BigInt(pagesOffset), true],
      [inIndex + BigInt(pagesOffset) + 1n, false],
      [inIndex + BigInt(pagesOffset) + 4096n, true],
      [inIndex + BigInt(pagesOffset) + 8192n, false],
      [2n ** 64n - 1n, false],
    ];
    for (const [entry, accepted] of cases) {
      const bytes = good.slice();
      new DataView(bytes.buffer).setBigUint64(4096 + 3 * 8, entry, true);
      const tableSum = crc32(bytes.subarray(4096, 4096 + header.pageLimit * 8));
      bytes.set(encodeIndexHeader({ ...header, tableSum }));
      const result = check(bytes);
      assertEquals(typeof result !== "string", accepted, `${entry}: ${JSON.stringify(result)}`);
    }
  });
});

Deno.test("openImage keeps the index in memory where it cannot be written, and says so", async () => {
  const bytes = capture();
  // There can be no further file in this directory, not even for root.
  using file = MappedMemory.memfd(bytes.length, "image");
  file.bytes().set(bytes);
  const path = `/proc/self/fd/${file.fd}`;
  for (let time = 0; time < 2; time++) {
    const { index } = await openAndCheck(path, readMemory(bytes));
    assertEquals(index!.state, "temporary");
    assert(index!.reason !== undefined);
  }
});

Deno.test("openImage keeps the index in memory when its name is taken by a directory", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    await Deno.writeFile(path, capture());
    await Deno.mkdir(`${path}.postcopy-index`);
    assertEquals((await openAndCheck(path, readMemory(capture()))).index!.state, "temporary");
    assertEquals([...Deno.readDirSync(directory)].length, 2);
  });
});

Deno.test("openImage may be called for one image many times at once", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    await Deno.writeFile(path, capture());
    const images = await Promise.all(Array.from({ length: 8 }, () => openImage(path)));
    for (const image of images) assertMemory(image, readMemory(capture()));
    for (const image of images) image.close();
    assertEquals([...Deno.readDirSync(directory)].length, 2);
    assertEquals((await openAndCheck(path, readMemory(capture()))).index!.state, "reused");
  });
});

Deno.test("Image can be closed twice, when other memory is where it was", async () => {
  await withImage(async (path, index) => {
    const image = await openImage(path);
    assert(image.pages.kind === "table");
    const { imageAddress, reconstructed } = image.pages;
    closeAgainAndAgain(image, [
      { address: imageAddress, length: (await Deno.stat(path)).size },
      { address: reconstructed.address, length: (await Deno.stat(index)).size },
    ]);
  });
});

Deno.test("openImage ends when its signal does, and leaves nothing behind", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    await Deno.writeFile(path, capture());
    const signal = AbortSignal.abort(new Error("enough"));
    await assertRejects(() => openImage(path, { signal }), Error, "enough");
    assertEquals([...Deno.readDirSync(directory)].map(({ name }) => name), ["image"]);
  });
});

Deno.test("openImage tells how far it is", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    await Deno.writeFile(path, capture());
    const calls: [number, number][] = [];
    (await openImage(path, { onProgress: (...call) => calls.push(call) })).close();
    assertEquals(calls.at(-1)![1], capture().length);
    assert(calls.at(-1)![0] > 30 * PAGE);
  });
});

Deno.test("openImage refuses an image that is written to meanwhile", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    await Deno.writeFile(path, capture());
    const append = () => Deno.writeFileSync(path, new Uint8Array(1), { append: true });
    await assertRejects(() => openImage(path, { onProgress: append }), Error, "changed");
    assertEquals([...Deno.readDirSync(directory)].map(({ name }) => name), ["image"]);
  });
});

Deno.test("openImage lets nobody read an index who may not read its image", async () => {
  await withDirectory(async (directory) => {
    for (const mode of [0o600, 0o640]) {
      const path = `${directory}/image-${mode}`;
      await Deno.writeFile(path, capture());
      await Deno.chmod(path, mode);
      using image = await openImage(path);
      assertEquals(image.index?.state, "built");
      const found = (await Deno.stat(`${path}.postcopy-index`)).mode! & 0o777;
      assertEquals(found & ~mode, 0);
    }
  });
});
