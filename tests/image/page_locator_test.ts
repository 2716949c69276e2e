import "../support/native.ts";
import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { MappedFile } from "../../ffi/mapped_file.ts";
import { MappedMemory, viewMemory } from "../../ffi/memory.ts";
import { Residency } from "../../ffi/residency.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { RamLayout } from "../../migration/memory/ram_layout.ts";
import { CaptureHandler } from "../../image/capture/capture_handler.ts";
import { PageLocator, type PageSource } from "../../pages/page_locator.ts";
import { PageTable } from "../../image/capture/page_table.ts";
import type { ReconstructedPages } from "../../image/capture/reconstructed_pages.ts";
import { isZeroPage } from "../../pages/zero_page.ts";
import { pageSum } from "../../pages/page_sum.ts";
import { ENTRY_BYTES, IN_INDEX } from "../../pages/table_pages.ts";
import { PAGE, testPage, withDirectory } from "./captures.ts";

const GIB = 2 ** 30;

Deno.test("PageLocator finds pages beyond 4 GiB of a sparse file", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/sparse`;
    const offsets = [8, 2 ** 32 - 2 * PAGE, 2 ** 32 - 100, 2 ** 32 + PAGE, 9 * GIB + 12345];
    using file = await Deno.open(path, { write: true, createNew: true });
    await file.truncate(10 * GIB);
    for (const [i, offset] of offsets.entries()) {
      await file.seek(offset, Deno.SeekMode.Start);
      await file.write(testPage(i));
    }
    using memory = MappedFile.open(path, 10 * GIB);
    using table = new PageTable(new RamLayout([{ name: "ram", usedLength: 64 * PAGE }]));
    // The index of as many reconstructed pages, of which two are there: the sum of zeros is not zero.
    const index = `${directory}/index`;
    using indexFile = await Deno.open(index, { write: true, createNew: true });
    await indexFile.truncate(9 * GIB);
    const pagesOffset = 4096;
    const pagesCount = 2 ** 21 + 1;
    const sumsOffset = pagesOffset + pagesCount * PAGE;
    for (const number of [0, 2 ** 21]) {
      await indexFile.seek(pagesOffset + number * PAGE, Deno.SeekMode.Start);
      await indexFile.write(testPage(100 + number));
      await indexFile.seek(sumsOffset + number * 4, Deno.SeekMode.Start);
      const sum = pageSum(new Int32Array(testPage(100 + number).buffer), 0);
      await indexFile.write(new Uint8Array(Uint32Array.of(sum).buffer));
    }
    using indexMemory = MappedFile.open(index, 9 * GIB);
    const { address } = indexMemory;
    offsets.forEach((offset, page) => table.setInImage(page, offset));
    table.setZero(5);
    table.setInIndex(7, 4096);
    table.setInIndex(8, 2 ** 33 + 4096);
    table.setInIndex(9, 2 ** 32 + 4096);
    using copy = MappedMemory.anonymous(64 * 8);
    copy.bytes().set(new Uint8Array(table.words.buffer));
    const locator = new PageLocator({
      kind: "table",
      imageAddress: memory.address,
      imageLength: memory.length,
      reconstructed: {
        path: index,
        address,
        pagesOffset,
        pagesCount,
        pageSize: PAGE,
        sumsOffset,
      },
      tableAddress: copy.address,
      pageLimit: 64,
    });
    for (const [page, offset] of offsets.entries()) {
      assertEquals(locator.locate(page), memory.address + offset);
      assertEquals(table.position(page), { offset, inIndex: false });
      assertEquals(viewMemory(locator.locate(page), PAGE), testPage(page));
    }
    assertEquals([5, 6].map((page) => locator.locate(page)), [0, 0]);
    assertEquals(locator.locate(7), address + 4096);
    assertEquals(locator.locate(8), address + 2 ** 33 + 4096);
    assertThrows(() => locator.locate(9), MigrationError, `at byte ${2 ** 32 + PAGE}: ${index}`);
    assertEquals(table.position(8), { offset: 2 ** 33 + 4096, inIndex: true });
    assertEquals(table.counts(), [{ data: 8, zero: 1, missing: 55 }]);
  });
});

Deno.test("CaptureHandler enters positions beyond 4 GiB", () => {
  let table: PageTable | undefined;
  const handler = new CaptureHandler("image", (layout) => {
    table = new PageTable(layout);
    return { table, reconstructed: undefined as unknown as ReconstructedPages };
  });
  handler.blockList(8 * GIB);
  handler.blockEntry({ name: "ram", usedLength: 8 * GIB });
  handler.block("ram");
  handler.origin = 5 * GIB;
  handler.page(6 * GIB, testPage(0), 12);
  assertEquals(table!.position(6 * GIB / PAGE), { offset: 5 * GIB + 12, inIndex: false });
  table!.close();
});

Deno.test("isZeroPage finds any bit of a page, and none beside it", () => {
  const words = new Int32Array(3 * 1024);
  const bytes = new Uint8Array(words.buffer);
  for (let at = 0; at < bytes.length; at++) {
    for (const byte of [0x80, 1]) {
      bytes[at] = byte;
      assertStrictEquals(isZeroPage(words, 1024), at < PAGE || at >= 2 * PAGE, `byte ${at}`);
    }
    bytes[at] = 0;
  }
});

function bitmapOf(pages: readonly number[]): SharedArrayBuffer {
  const bitmap = new PageBitmap(128);
  for (const page of pages) bitmap.add(page);
  return bitmap.buffer;
}

/** Page 66 is the memory's tenth; with a table, page 68 its thirteenth. */
const LISTED: readonly { kind: string; source: (memory: MappedMemory) => PageSource }[] = [
  {
    kind: "flat",
    source: ({ address: imageAddress, length: imageLength }) => ({
      kind: "flat",
      imageAddress,
      imageLength,
      runs: [{ firstPage: 0, offset: 0 }, { firstPage: 64, offset: 8 * PAGE }],
      pageSize: PAGE,
    }),
  },
  {
    kind: "mapped-ram",
    source: ({ address: imageAddress, length: imageLength }) => ({
      kind: "mapped-ram",
      imageAddress,
      imageLength,
      present: bitmapOf([0, 64, 65, 66, 67, 68, 69]),
      runs: [
        { firstPage: 0, pagesOffset: 16 * PAGE },
        { firstPage: 64, pagesOffset: 8 * PAGE },
      ],
      pageSize: PAGE,
    }),
  },
  {
    kind: "table",
    source: ({ address, length: imageLength }) => ({
      kind: "table",
      imageAddress: address,
      imageLength,
      reconstructed: {
        path: "",
        address,
        pagesOffset: 12 * PAGE,
        pagesCount: 4,
        pageSize: PAGE,
        sumsOffset: 20 * PAGE,
      },
      tableAddress: address,
      pageLimit: 128,
    }),
  },
];

for (const { kind, source } of LISTED) {
  Deno.test(`PageLocator lists what is read of a page, of kind ${kind}`, () => {
    using memory = MappedMemory.anonymous(32 * PAGE);
    memory.adviseSmallPages();
    const bytes = memory.bytes();
    const entries = new DataView(bytes.buffer);
    if (kind === "table") {
      entries.setUint32(66 * ENTRY_BYTES, 10 * PAGE, true);
      entries.setUint32(68 * ENTRY_BYTES, 13 * PAGE, true);
      entries.setUint32(68 * ENTRY_BYTES + 4, IN_INDEX, true);
    }
    const locator = new PageLocator(source(memory));
    assert(locator.stored);
    const residency = new Residency();
    const atHand = (page: number) => {
      residency.clear();
      locator.list(page, residency);
      return residency.resident;
    };
    assert(!atHand(66));
    bytes[9 * PAGE] = bytes[11 * PAGE] = 1;
    assert(!atHand(66));
    bytes[10 * PAGE] = 1;
    assert(atHand(66));
    if (kind === "flat") return;
    assert(atHand(71)); // zero, which is known without it
    if (kind === "mapped-ram") return;
    bytes[13 * PAGE] = 1;
    assert(!atHand(68)); // its checksum is not
    bytes[20 * PAGE] = 1;
    assert(atHand(68));
  });
}

Deno.test("PageLocator of a raw image lists nothing behind its last page, which is somebody else's", () => {
  using memory = MappedMemory.anonymous(2 * 4096);
  memory.bytes(0, 4096).fill(1); // the image; what lies behind was never touched
  const locator = new PageLocator({
    kind: "flat",
    imageAddress: memory.address,
    imageLength: 4096,
    runs: [{ firstPage: 0, offset: 0 }],
    pageSize: 4096,
  });
  const listed = new Residency();
  for (let page = 0; page < 32; page++) locator.list(page, listed);
  assertEquals(listed.resident, true);
});
