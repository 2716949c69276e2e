import "../support/native.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { withHugePages } from "../../image/huge_pages_image.ts";
import { ImageError } from "../../image/image_error.ts";
import { openImage } from "../../image/open_image.ts";
import { TestImage } from "../support/images.ts";
import { HUGE } from "./huge_pages.ts";

Deno.test("withHugePages changes the host pages of the blocks named, and nothing else", async () => {
  using file = await TestImage.make({ rom: 40, ram: 1024 });
  using image = await openImage(file.path);
  const huge = withHugePages(image, ["ram"]);
  assertEquals(huge.blocks, [
    { name: "rom", usedLength: 40 * 4096 },
    { name: "ram", usedLength: 2 * HUGE, pageSize: HUGE },
  ]);
  assertEquals(huge.layout.blocks.map(({ pagesPerHostPage }) => pagesPerHostPage), [1, 512]);
  assertEquals(
    huge.layout.blocks.map(({ firstPage }) => firstPage),
    image.layout.blocks.map(({ firstPage }) => firstPage),
  );
  const same = ["path", "machine", "deviceState", "pages", "ramSection", "configuration"] as const;
  for (const key of same) assertEquals(huge[key], image[key], key);
  assertEquals(await huge.countPages(), await image.countPages());
  assertEquals(withHugePages(image, []), image);
});

Deno.test("withHugePages refuses blocks that are not there or do not fit huge pages", async () => {
  using file = await TestImage.make({ rom: 40, ram: 1024 });
  using image = await openImage(file.path);
  assertThrows(
    () => withHugePages(image, ["mem0"]),
    ImageError,
    `No RAM block named: mem0: ${file.path}: it has rom, ram`,
  );
  assertThrows(
    () => withHugePages(image, ["ram", "rom"]),
    ImageError,
    "RAM block rom cannot lie in pages of 2 MiB, its length is: 163840",
  );
});

Deno.test("withHugePages takes blocks of several sizes one after the other", async () => {
  using file = await TestImage.make({ rom: 40, ram: 1024 });
  using image = await openImage(file.path);
  const huge = withHugePages(withHugePages(image, ["ram"]), ["rom"], 4 * 4096);
  assertEquals(huge.blocks.map(({ pageSize }) => pageSize), [4 * 4096, HUGE]);
  assertThrows(
    () => withHugePages(image, ["ram"], 2 ** 30),
    ImageError,
    "RAM block ram cannot lie in pages of 1 GiB, its length is: 4194304",
  );
});
