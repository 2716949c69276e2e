import { assert, assertEquals, assertThrows } from "@std/assert";
import { RamLayout, RamLayoutError } from "../../migration/memory/ram_layout.ts";

const PAGE = 4096;

Deno.test("RamLayout numbers each block's pages from a multiple of 32 on", () => {
  const layout = new RamLayout([
    { name: "ram", usedLength: 33 * PAGE },
    { name: "rom", usedLength: PAGE },
    { name: "vga", usedLength: 64 * PAGE },
  ]);
  assertEquals(layout.blocks.map(({ firstPage, pageCount }) => [firstPage, pageCount]), [
    [0, 33],
    [64, 1],
    [96, 64],
  ]);
  assertEquals([layout.pageLimit, layout.pageCount], [160, 98]);
});

Deno.test("RamLayout finds a block by its name and by a page number", () => {
  const layout = new RamLayout([
    { name: "ram", usedLength: 40 * PAGE },
    { name: "rom", usedLength: 2 * PAGE },
  ]);
  assertEquals(layout.find("rom")?.firstPage, 64);
  assertEquals(layout.find("nosuch"), undefined);
  assertEquals([0, 39, 64, 65].map((page) => layout.blockOf(page).name), [
    "ram",
    "ram",
    "rom",
    "rom",
  ]);
});

Deno.test("RamLayout takes other target pages and the host pages of blocks", () => {
  const layout = new RamLayout([{ name: "ram", usedLength: 1 << 21, pageSize: 1 << 21 }], 65536);
  assertEquals([layout.pageCount, layout.blocks[0]!.pageSize], [32, 1 << 21]);
});

for (
  const [what, usedLength] of [
    ["no whole number of pages", 5000],
    ["no pages at all", 0],
    ["a negative length", -PAGE],
    ["no number", NaN],
    ["a length that is not exact", 2 ** 60],
  ] as const
) {
  Deno.test(`RamLayout refuses a block with ${what}`, () => {
    assertThrows(
      () => new RamLayout([{ name: "ram", usedLength }]),
      RamLayoutError,
      `Length of RAM block ram is no positive multiple of 4096: ${usedLength}`,
    );
  });
}

Deno.test("RamLayout counts the target pages of a host page", () => {
  const layout = new RamLayout([
    { name: "ram", usedLength: 1 << 22, pageSize: 1 << 21 },
    { name: "rom", usedLength: 2 * PAGE },
  ]);
  assertEquals(layout.blocks.map((block) => block.pagesPerHostPage), [512, 1]);
  assert(layout.hasHugePages);
  assert(!new RamLayout([{ name: "rom", usedLength: PAGE }]).hasHugePages);
});

Deno.test("RamLayout refuses a block that ends inside of a host page", () => {
  assertThrows(
    () => new RamLayout([{ name: "ram", usedLength: 3 << 20, pageSize: 1 << 21 }]),
    RamLayoutError,
    "Length of RAM block ram is no positive multiple of 2097152: 3145728",
  );
});

for (const pageSize of [0, -PAGE, 2048, 3 * PAGE, NaN, Infinity]) {
  Deno.test(`RamLayout refuses host pages of ${pageSize} bytes`, () => {
    assertThrows(
      () => new RamLayout([{ name: "ram", usedLength: 12 * PAGE, pageSize }]),
      RamLayoutError,
      `Host page of RAM block ram is no power of two of pages of 4096: ${pageSize}`,
    );
  });
}

Deno.test("RamLayout refuses two blocks of one name", () => {
  const block = { name: "ram", usedLength: PAGE };
  assertThrows(() => new RamLayout([block, block]), RamLayoutError, "RAM block named twice: ram");
});

Deno.test("RamLayout refuses more pages than 31 bits can number", () => {
  assertThrows(
    () => new RamLayout([{ name: "ram", usedLength: 2 ** 43 }]),
    RamLayoutError,
    "More than 2^31 pages of RAM",
  );
});
