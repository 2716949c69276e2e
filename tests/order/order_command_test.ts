import { assertEquals, assertMatch } from "@std/assert";
import { RamLayout } from "../../migration/memory/ram_layout.ts";
import type { OwnedOrder } from "../../image/order/order_codec.ts";
import { readOrderFile, writeOrderFile } from "../../image/order/order_file.ts";
import { orderPicture } from "../../server/order/order_picture.ts";
import { type Printed, runHere } from "../command/command_lines.ts";
import { withDirectory } from "../image/captures.ts";

const layout = new RamLayout([
  { name: "ram", usedLength: 4096 * 1024 },
  { name: "rom", usedLength: 4096 * 16 },
]);

function orderOf(pages: readonly number[], stamp = "a guest"): OwnedOrder {
  const list = { pages: Int32Array.from(pages), idle: new Uint8Array(pages.length) };
  return { stamp, layout, list };
}

function order(...args: string[]): Promise<Printed> {
  return runHere("main.ts", "order", ...args);
}

async function write(path: string, order: OwnedOrder): Promise<void> {
  assertEquals(await writeOrderFile(path, order, 0o600), undefined);
}

Deno.test("orderPicture shows where the pages lie and when they are touched, by one scale", () => {
  // First the start of ram page by page, then rom, then pages anywhere in the second half of ram.
  const pages = [
    ...Array.from({ length: 16 }, (_, page) => page),
    ...Array.from({ length: 16 }, (_, page) => 1024 + page),
    ...Array.from({ length: 32 }, (_, page) => 512 + page * 16),
  ];
  const drawn = orderOf(pages);
  drawn.list.idle.fill(4, 60);
  assertEquals(orderPicture(drawn, { rows: 4, columns: 8 }), [
    "64 pages, 256 KiB; 4 of them no longer asked for",
    "",
    "ram, 4 MiB: 48 pages",
    " 1 - 16 |█       |",
    "17 - 32 |        |",
    "33 - 48 |    ▒▒  |",
    "49 - 64 |      ▒▒|",
    "",
    "rom, 64 KiB: 16 pages",
    " 1 - 16 |        |",
    "17 - 32 |░░░░░░░░|",
    "33 - 48 |        |",
    "49 - 64 |        |",
  ]);
});

Deno.test("orderPicture has no more lines than pages", () => {
  assertEquals(orderPicture(orderOf([3, 1020]), { rows: 10, columns: 4 }), [
    "2 pages, 8 KiB",
    "",
    "ram, 4 MiB: 2 pages",
    "1 - 1 |█   |",
    "2 - 2 |   █|",
  ]);
});

Deno.test("orderPicture of an order without pages is a line", () => {
  assertEquals(orderPicture(orderOf([])), ["0 pages, 0 B"]);
});

Deno.test("order show prints an order, by its own name and the image's", () =>
  withDirectory(async (directory) => {
    const image = `${directory}/vm.img`;
    await Deno.writeTextFile(image, "an image");
    await write(`${image}.postcopy-order`, orderOf([5, 6, 7, 900]));
    const picture = `${orderPicture(orderOf([5, 6, 7, 900])).join("\n")}\n`;
    const expected = { code: 0, output: picture, errors: "" };
    assertEquals(await order("show", `${image}.postcopy-order`), expected);
    assertEquals(await order("show", image), expected);
    const { output } = await order("show", image, "--json");
    assertEquals(JSON.parse(output).order, [
      { block: "ram", offset: 5 * 4096, length: 3 * 4096 },
      { block: "ram", offset: 900 * 4096, length: 4096 },
    ]);
  }));

Deno.test("order merge joins orders of one guest, also into one of them", () =>
  withDirectory(async (directory) => {
    const [one, other] = [`${directory}/one`, `${directory}/other`];
    await write(one, orderOf([1, 2, 3]));
    await write(other, orderOf([4, 2, 1]));
    const { code, output } = await order("merge", one, other, "--output", one);
    assertEquals([code, output], [0, `Merged 4 pages into ${one}\n`]);
    const merged = await readOrderFile(one);
    assertEquals(merged, { ...orderOf([]), list: orderOf([4, 1, 2, 3]).list });
  }));

Deno.test("order refuses what it cannot use, by name, and changes nothing", () =>
  withDirectory(async (directory) => {
    const [one, other, image] = [`${directory}/one`, `${directory}/other`, `${directory}/image`];
    await write(one, orderOf([1, 2, 3]));
    await write(other, orderOf([1], "another guest"));
    await Deno.writeTextFile(image, "an image, not an order");
    const cases: readonly [readonly string[], number, RegExp][] = [
      [
        ["merge", one, other, "--output", one],
        3,
        /^postcopy: Order that cannot be merged with .*one: .*other: it is of another save$/m,
      ],
      [
        ["merge", one, "--output", image],
        3,
        /^postcopy: Output that is something else than an order: .*image: name another file$/m,
      ],
      [
        ["merge", one, `${directory}/none`, "--output", one],
        3,
        /^postcopy: No such order: .*none: /m,
      ],
      [
        ["show", image],
        3,
        /^postcopy: Order cannot be used: .*image: it is no order of this program$/m,
      ],
      [["show"], 2, /No FILE given to show/],
      [["merge", one], 2, /Nowhere to merge to given: say --output FILE/],
      [["shwo", one], 2, /Unknown action: shwo: did you mean show\?/],
      [[], 2, /Nothing to be done given: show or merge/],
    ];
    for (const [args, expected, message] of cases) {
      const { code, errors } = await order(...args);
      assertEquals(code, expected, errors);
      assertMatch(errors, message);
    }
    assertEquals(await Deno.readTextFile(image), "an image, not an order");
    assertEquals(((await readOrderFile(one)) as OwnedOrder).list, orderOf([1, 2, 3]).list);
  }));
