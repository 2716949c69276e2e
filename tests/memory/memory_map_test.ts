import { assertEquals, assertThrows } from "@std/assert";
import { CellGrid, MOST_CELLS } from "../../migration/memory/memory_map.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { RamLayout } from "../../migration/memory/ram_layout.ts";
import { AskedPages } from "../../server/order/asked_pages.ts";
import { RequestLog } from "../../server/order/request_log.ts";
import { sourceMap } from "../../server/outgoing/source_map.ts";
import { Random } from "../support/random.ts";

/** Blocks of so many pages, `block0` and on. */
function layoutOf(pages: readonly number[]): RamLayout {
  return new RamLayout(
    pages.map((count, index) => ({ name: `block${index}`, usedLength: count * 4096 })),
  );
}

/** Sets random pages of a layout's blocks. */
function randomPages(random: Random, { blocks, pageLimit }: RamLayout): PageBitmap {
  const bitmap = new PageBitmap(pageLimit);
  for (const { firstPage, pageCount } of blocks) {
    for (let page = 0; page < pageCount; page++) {
      if (random.below(3) === 0) bitmap.add(firstPage + page);
    }
    // A run too, of whole words.
    const from = random.below(pageCount);
    bitmap.fill(firstPage + from, random.below(pageCount - from));
  }
  return bitmap;
}

Deno.test("CellGrid counts in each cell what a walk over its pages finds", () => {
  const random = new Random(5);
  for (let round = 0; round < 60; round++) {
    const layout = layoutOf(Array.from({ length: 4 }, () => random.between(1, 300)));
    const grid = new CellGrid(layout, random.between(1, 2 * layout.pageCount));
    const [bitmap, within] = [randomPages(random, layout), randomPages(random, layout)];
    const expected = grid.none();
    const both = grid.none();
    layout.blocks.forEach(({ firstPage, pageCount }, index) => {
      const { "first-cell": first, pages } = grid.blocks[index]!;
      assertEquals(pages, pageCount);
      for (let page = 0; page < pageCount; page++) {
        const cell = first + Math.floor(page / grid.pagesPerCell);
        if (!bitmap.has(firstPage + page)) continue;
        expected[cell]!++;
        if (within.has(firstPage + page)) both[cell]!++;
      }
    });
    assertEquals(grid.count(bitmap), expected);
    assertEquals(grid.count(bitmap, within), both);
  }
});

Deno.test("CellGrid gives each block cells of its own, and each page one", () => {
  const grid = new CellGrid(layoutOf([100, 1, 33]), 10);
  assertEquals(grid.pagesPerCell, 14);
  assertEquals(grid.blocks, [
    { name: "block0", pages: 100, "first-cell": 0, cells: 8 },
    { name: "block1", pages: 1, "first-cell": 8, cells: 1 },
    { name: "block2", pages: 33, "first-cell": 9, cells: 3 },
  ]);
  assertEquals(grid.pages(), [14, 14, 14, 14, 14, 14, 14, 2, 1, 14, 14, 5]);
});

Deno.test("CellGrid has a cell a page at most", () => {
  const grid = new CellGrid(layoutOf([3, 2]), MOST_CELLS);
  assertEquals(grid.pages(), [1, 1, 1, 1, 1]);
});

Deno.test("CellGrid refuses a number of cells that cannot be", () => {
  for (const cells of [0, -1, 1.5, NaN, MOST_CELLS + 1]) {
    assertThrows(
      () => new CellGrid(layoutOf([8]), cells),
      RangeError,
      `Cells of a map must be 1 to 65536: ${cells}`,
    );
  }
});

Deno.test("AskedPages has each page once that was asked for, and hears of more later", () => {
  const layout = new RamLayout([
    { name: "small", usedLength: 40 * 4096 },
    { name: "huge", usedLength: 4 << 20, pageSize: 2 << 20 },
  ]);
  const log = new RequestLog(layout);
  const asked = new AskedPages(layout, log);
  assertEquals(asked.pages.count(), 0);
  for (const page of [7, 3, 7]) log.add(page);
  assertEquals(asked.pages.count(), 2);
  const [, huge] = layout.blocks;
  log.add(huge!.firstPage + 512);
  assertEquals(asked.pages.count(), 2 + 512);
  assertEquals([3, 4, 7, huge!.firstPage + 511].map((page) => asked.pages.has(page)), [
    true,
    false,
    true,
    false,
  ]);
});

Deno.test("sourceMap puts each page into one of missing, requested, sent and absent", () => {
  const layout = layoutOf([64]);
  const dirty = new PageBitmap(64);
  const present = new PageBitmap(64);
  const asked = new PageBitmap(64);
  dirty.fill(10, 54); // 0 to 9 were sent
  present.fill(0, 50); // 50 to 63 never were in the image
  asked.fill(8, 4); // two that were sent, two that are waited for
  const map = sourceMap(layout, { dirty, present, asked }, 4);
  assertEquals(map["pages-per-cell"], 16);
  assertEquals(map.missing, [4, 16, 16, 2]);
  assertEquals(map.requested, [2, 0, 0, 0]);
  assertEquals(map.sent, [10, 0, 0, 0]);
  assertEquals(map.absent, [0, 0, 0, 14]);
  assertEquals(map.asked, [4, 0, 0, 0]);
});

Deno.test("sourceMap of an image that holds all, where nobody notes requests, knows two kinds", () => {
  const dirty = new PageBitmap(64);
  dirty.fill(0, 20);
  const map = sourceMap(layoutOf([64]), { dirty, present: undefined, asked: undefined }, 2);
  assertEquals([map.missing, map.sent], [[20, 0], [12, 32]]);
  assertEquals([map.requested, map.absent, map.asked], [[0, 0], [0, 0], [0, 0]]);
});
