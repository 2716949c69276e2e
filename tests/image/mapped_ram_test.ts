import "../support/native.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { viewMemory } from "../../ffi/memory.ts";
import { openImage } from "../../image/open_image.ts";
import { PageLocator } from "../../pages/page_locator.ts";
import { formatImageReport, inspectImage } from "../../image/inspect/inspect.ts";
import {
  assertMemory,
  concat,
  deviceSection,
  PAGE,
  part,
  testPage,
  withDirectory,
} from "./captures.ts";
import { makeMappedRam, type MappedBlock, type MappedShape } from "./mapped_ram_files.ts";
import { readMappedMemory } from "./reference.ts";

const GIB = 2 ** 30;
const MIB = 2 ** 20;

/** Pages by number, each with content that no other has. */
function pages(...numbers: number[]): Map<number, Uint8Array> {
  return new Map(numbers.map((number) => [number, testPage(number)]));
}

/** Names of odd and even length, so that bitmaps lie at any alignment; lengths of whole and broken words. */
const BLOCKS: readonly MappedBlock[] = [
  { name: "pc.ram", pages: 512, stored: pages(0, 1, 63, 64, 100, 511), stale: pages(2, 65, 510) },
  { name: "0000:00:01.0/vga.vram", pages: 3, stored: pages(2) },
  { name: "pc.bios", pages: 65, stored: pages(0, 63, 64) },
  { name: "pc.rom", pages: 1 },
];

async function withFile(
  shape: MappedShape,
  use: (path: string, bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  await withDirectory(async (directory) => {
    const { bytes } = makeMappedRam(shape);
    await Deno.writeFile(`${directory}/image`, bytes);
    await use(`${directory}/image`, bytes);
    assertEquals([...Deno.readDirSync(directory)].map(({ name }) => name), ["image"]);
  });
}

Deno.test("openImage gives the pages of a mapped-ram file whose bits are set, and zeros for others", async () => {
  for (const alignment of [1, PAGE, MIB]) {
    await withFile({ blocks: BLOCKS, alignment }, async (path, bytes) => {
      using image = await openImage(path);
      assertMemory(image, readMappedMemory(bytes));
      assertEquals(image.counts, [
        { data: 6, zero: 506, missing: 0 },
        { data: 1, zero: 2, missing: 0 },
        { data: 3, zero: 62, missing: 0 },
        { data: 0, zero: 1, missing: 0 },
      ]);
      assertEquals(await image.countPages(), image.counts);
    });
  }
});

Deno.test("openImage gives a destination nothing of the mapped-ram format", async () => {
  await withFile({ blocks: BLOCKS }, async (path) => {
    using image = await openImage(path);
    assertEquals(image.kind, "mapped-ram");
    assertEquals(image.index, undefined);
    assertEquals(image.configuration, { machine: "pc-q35-11.1" });
    assertEquals(
      image.blocks,
      BLOCKS.map(({ name, pages }) => ({ name, usedLength: pages * PAGE })),
    );
  });
});

Deno.test("openImage keeps the rest of a mapped-ram file's configuration", async () => {
  const uuid = Uint8Array.from({ length: 16 }, (_, i) => i * 17);
  const configuration = { machine: "pc-q35-9.0", capabilities: ["mapped-ram"], uuid };
  await withFile({ configuration, blocks: BLOCKS }, async (path) => {
    using image = await openImage(path);
    assertEquals(image.configuration, { machine: "pc-q35-9.0", uuid });
  });
});

Deno.test("openImage finds device sections around the memory of a mapped-ram file", async () => {
  const early = concat(
    deviceSection(0x1234, "virtio-mem-early", 1, testPage(1)),
    deviceSection(3, "another", 9, new TextEncoder().encode("\x7e\0\0\0\x03\x01ram")),
  );
  const devices = concat(
    deviceSection(8, "timer", 2, new Uint8Array(24)),
    deviceSection(9, "cpu", 12, Uint8Array.of(0, 0, 0x7e, 0, 0, 0, 9, 4)),
  );
  await withFile({ blocks: BLOCKS, early, devices }, async (path, bytes) => {
    using image = await openImage(path);
    assertEquals(image.earlySections, early);
    assertEquals(image.earlySectionCount, 2);
    assertEquals(image.deviceState, devices);
    assertEquals(image.deviceSections.map(({ name, size }) => [name, size]), [
      ["virtio-mem-early", PAGE],
      ["another", 9],
      ["timer", 24],
      ["cpu", 8],
    ]);
    assertMemory(image, readMappedMemory(bytes, startOfRam(bytes, early)));
  });
});

/** Where the memory section starts behind early sections. */
function startOfRam(bytes: Uint8Array, early: Uint8Array): number {
  for (let at = 0;; at++) {
    if (early.every((byte, i) => bytes[at + i] === byte)) return at + early.length;
  }
}

Deno.test("openImage passes over the empty parts and flushes of a mapped-ram file", async () => {
  const shape: MappedShape = {
    blocks: BLOCKS,
    body: (encoder) => {
      part(encoder, () => {});
      part(encoder, () => encoder.multifdFlush());
      encoder.command({ kind: "switchover-start" });
    },
  };
  await withFile(shape, async (path, bytes) => {
    using image = await openImage(path);
    assertEquals(image.commands, [{ kind: "switchover-start", count: 1 }]);
    assertMemory(image, readMappedMemory(bytes));
  });
});

Deno.test("PageLocator finds the pages of a mapped-ram file from plain data", async () => {
  await withFile({ blocks: BLOCKS }, async (path) => {
    using image = await openImage(path);
    const locator = new PageLocator(structuredClone(image.pages));
    const { firstPage } = image.layout.find("pc.bios")!;
    const first = locator.locate(firstPage);
    assert(first > 0);
    assertEquals(locator.locate(firstPage + 64), first + 64 * PAGE);
    assertEquals(locator.locate(firstPage + 62), 0);
    assertEquals(locator.locate(firstPage + 65), 0); // behind the block's last page
  });
});

Deno.test("openImage touches no page of a mapped-ram file of 64 GiB", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    const { head, pagesOffset, tail } = hugeFile("pc.ram", 64 * GIB);
    const last = 64 * GIB / PAGE - 1;
    using file = await Deno.open(path, { write: true, createNew: true });
    await writeAt(file, 0, head);
    await writeAt(file, pagesOffset + last * PAGE, testPage(7));
    await writeAt(file, pagesOffset + 64 * GIB, tail);
    using image = await openImage(path);
    assertEquals(image.counts, [{ data: 1, zero: last, missing: 0 }]);
    // 2 MiB of bitmap, and what the kernel maps around a byte that is read.
    assert(residentBytes(path) < 4 * MIB, `${residentBytes(path)} bytes were touched`);
    const locator = new PageLocator(image.pages);
    assertEquals(locator.locate(last - 1), 0);
    assertEquals(viewMemory(locator.locate(last), PAGE), testPage(7));
    assertEquals(image.deviceSections.map(({ name }) => name), ["cpu"]);
  });
});

/** The ends of a file with one block, of which only the last page is stored. */
function hugeFile(
  name: string,
  length: number,
): { head: Uint8Array; pagesOffset: number; tail: Uint8Array } {
  const { bytes, regions, listEnd } = makeMappedRam({ blocks: [{ name, pages: 1 }] });
  const { headerOffset, bitmapOffset } = regions[0]!;
  const bitmapBytes = length / PAGE / 8;
  const pagesOffset = Math.ceil((bitmapOffset + bitmapBytes) / MIB) * MIB;
  const head = concat(bytes.subarray(0, bitmapOffset), new Uint8Array(bitmapBytes));
  const view = new DataView(head.buffer);
  view.setBigUint64(headerOffset - 8 - 1 - name.length - 8, BigInt(length + 4)); // announced
  view.setBigUint64(headerOffset - 8, BigInt(length));
  view.setBigUint64(headerOffset + 20, BigInt(pagesOffset));
  head[head.length - 1] = 0x80;
  return { head, pagesOffset, tail: bytes.subarray(listEnd) };
}

async function writeAt(file: Deno.FsFile, offset: number, bytes: Uint8Array): Promise<void> {
  await file.seek(offset, Deno.SeekMode.Start);
  await file.write(bytes);
}

/** Bytes of a file's mappings that this process has touched. */
function residentBytes(path: string): number {
  let resident = 0;
  let inside = false;
  for (const line of Deno.readTextFileSync("/proc/self/smaps").split("\n")) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) inside = line.endsWith(path);
    const match = /^Rss: +(\d+) kB$/.exec(line);
    if (inside && match !== null) resident += Number(match[1]) * 1024;
  }
  return resident;
}

Deno.test("inspect prints what is in a mapped-ram file", async () => {
  await withFile({ blocks: BLOCKS }, async (path) => {
    using image = await openImage(path);
    const text = formatImageReport(await inspectImage(image));
    assertMatch(text, /^kind +QEMU mapped-ram file$/m);
    assertMatch(text, /^pc\.ram +2,097,152 +2 MiB +512 +6 +506 +0$/m);
    assertMatch(text, /^cpu +0 +3 +11$/m);
  });
});
