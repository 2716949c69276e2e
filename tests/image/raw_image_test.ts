import "../support/native.ts";
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { viewMemory } from "../../ffi/memory.ts";
import { ImageError } from "../../image/image_error.ts";
import { openImage } from "../../image/open_image.ts";
import { PageLocator } from "../../pages/page_locator.ts";
import { concat, deviceSection, PAGE, testPage, withDirectory } from "./captures.ts";

const GIB = 2 ** 30;
const DEVICES = concat(
  deviceSection(1, "timer", 2, new Uint8Array(24)),
  deviceSection(2, "cpu", 12, testPage(1)),
);
const DESCRIPTION = {
  format: "postcopy-raw",
  version: 1,
  machine: "pc-q35-10.0",
  targetPageSize: PAGE,
  blocks: [
    { name: "ram", offset: 2 * PAGE, length: 3 * PAGE },
    { name: "rom", offset: 0, length: PAGE },
  ],
};

async function writeImage(directory: string, description: unknown, size = 6): Promise<string> {
  const path = `${directory}/memory`;
  const pages = Array.from(
    { length: size },
    (_, i) => i === 3 ? new Uint8Array(PAGE) : testPage(i),
  );
  await Deno.writeFile(path, concat(...pages));
  await Deno.writeTextFile(
    `${path}.json`,
    typeof description === "string" ? description : JSON.stringify(description),
  );
  return path;
}

Deno.test("openImage opens a raw memory file with its description", async () => {
  await withDirectory(async (directory) => {
    const path = await writeImage(directory, { ...DESCRIPTION, devices: "memory.devices" });
    await Deno.writeFile(`${path}.devices`, DEVICES);
    using image = await openImage(path);
    assertEquals(image.kind, "raw");
    assertEquals(image.machine, "pc-q35-10.0");
    assertEquals(image.configuration, { machine: "pc-q35-10.0" });
    assertEquals(image.blocks, [
      { name: "ram", usedLength: 3 * PAGE },
      { name: "rom", usedLength: PAGE },
    ]);
    assertEquals(image.deviceState, DEVICES);
    assertEquals(image.deviceSections.map(({ name, size }) => [name, size]), [
      ["timer", 24],
      ["cpu", PAGE],
    ]);
    assertEquals(image.counts, undefined);
    assertEquals(await image.countPages(), [
      { data: 2, zero: 1, missing: 0 },
      { data: 1, zero: 0, missing: 0 },
    ]);
    const locator = new PageLocator(structuredClone(image.pages));
    assertEquals(locator.locate(1), 0);
    assertEquals(viewMemory(locator.locate(0), PAGE), testPage(2));
    assertEquals(viewMemory(locator.locate(2), PAGE), testPage(4));
    assertEquals(viewMemory(locator.locate(32), PAGE), testPage(0));
    assertEquals([...Deno.readDirSync(directory)].length, 3);
  });
});

Deno.test("openImage opens a raw file beyond 4 GiB at once", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/memory`;
    const blocks = [
      { name: "low", offset: 0, length: 3 * GIB },
      { name: "high", offset: 4 * GIB, length: 60 * GIB },
    ];
    using file = await Deno.open(path, { write: true, createNew: true });
    await file.truncate(64 * GIB);
    const offsets = [2 * GIB, 4 * GIB, 64 * GIB - PAGE];
    for (const [i, offset] of offsets.entries()) {
      await file.seek(offset, Deno.SeekMode.Start);
      await file.write(testPage(i));
    }
    await Deno.writeTextFile(`${path}.json`, JSON.stringify({ ...DESCRIPTION, blocks }));
    using image = await openImage(path);
    const locator = new PageLocator(image.pages);
    const high = image.layout.blocks[1]!.firstPage;
    const pages = [2 * GIB / PAGE, high, high + 60 * GIB / PAGE - 1];
    for (const [i, page] of pages.entries()) {
      assertEquals(viewMemory(locator.locate(page), PAGE), testPage(i));
      assertEquals(locator.locate(page + (i < 2 ? 1 : -1)), 0);
    }
  });
});

Deno.test("openImage refuses a raw file that is shorter than its description says", async () => {
  await withDirectory(async (directory) => {
    const path = await writeImage(directory, DESCRIPTION, 4);
    const error = await assertRejects(() => openImage(path), ImageError, "ram");
    assertEquals(error.code, "truncated");
  });
});

Deno.test("openImage names what is wrong with a raw file's description", async () => {
  const [ram] = DESCRIPTION.blocks;
  const cases: [unknown, string][] = [
    [{ ...DESCRIPTION, version: 2 }, "version"],
    [{ ...DESCRIPTION, machine: 5 }, "machine"],
    [{ ...DESCRIPTION, blocks: [] }, "blocks"],
    [{ ...DESCRIPTION, blocks: [ram, ram] }, "named twice: ram"],
    [{ ...DESCRIPTION, blocks: [null] }, "name of a RAM block"],
    [{ ...DESCRIPTION, blocks: [{ ...ram, name: "" }] }, "name of a RAM block"],
    [{ ...DESCRIPTION, blocks: [{ ...ram, offset: 100 }] }, "place of RAM block ram"],
    [{ ...DESCRIPTION, blocks: [{ ...ram, offset: -PAGE }] }, "place of RAM block ram"],
    [{ ...DESCRIPTION, blocks: [{ ...ram, length: 0 }] }, "place of RAM block ram"],
    [{ ...DESCRIPTION, blocks: [{ ...ram, length: "all" }] }, "place of RAM block ram"],
    [{ ...DESCRIPTION, devices: 1 }, "device sections"],
    [{ ...DESCRIPTION, targetPageSize: 65536 }, "65536"],
    [{ ...DESCRIPTION, devices: "none" }, "none"],
  ];
  await withDirectory(async (directory) => {
    for (const [description, text] of cases) {
      const path = await writeImage(directory, description);
      const error = await assertRejects(() => openImage(path), ImageError);
      assertStringIncludes(error.message, text);
    }
  });
});

Deno.test("openImage refuses a raw file whose device sections are cut off", async () => {
  await withDirectory(async (directory) => {
    const path = await writeImage(directory, { ...DESCRIPTION, devices: "memory.devices" });
    await Deno.writeFile(`${path}.devices`, DEVICES.slice(0, -1));
    const error = await assertRejects(() => openImage(path), ImageError);
    assertEquals(error.code, "malformed");
  });
});

Deno.test("openImage takes JSON beside a file for a description only when it is one", async () => {
  await withDirectory(async (directory) => {
    for (const text of ["null", "{}", '{"format":"other"}']) {
      const path = await writeImage(directory, text);
      const error = await assertRejects(() => openImage(path), ImageError);
      assertEquals(error.code, "not-an-image");
    }
  });
});

Deno.test("openImage names what is missing in a description, and not the description as missing", async () => {
  const { format, version, ...rest } = DESCRIPTION;
  const cases: [unknown, string][] = [
    [{}, ".json without format, version, machine, targetPageSize, blocks: "],
    [null, ".json without format, version, machine, targetPageSize, blocks: "],
    [{ version, ...rest }, ".json without format: "],
    [{ format }, ".json without version, machine, targetPageSize, blocks: "],
    [{ format, version: 1, machine: "pc" }, ".json without targetPageSize, blocks: "],
    [{ ...DESCRIPTION, format: "qcow2" }, ".json of another format: qcow2: "],
  ];
  await withDirectory(async (directory) => {
    for (const [description, text] of cases) {
      const path = await writeImage(directory, description);
      const { message } = await assertRejects(() => openImage(path), ImageError);
      assertStringIncludes(message, `${path}${text}${path}: `);
      assertEquals(message.includes("beside"), false, message);
    }
  });
});

Deno.test("openImage tells a compressed file from a raw one, whatever JSON is beside it", async () => {
  await withDirectory(async (directory) => {
    const path = await writeImage(directory, {});
    await Deno.writeFile(path, Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 0));
    await assertRejects(() => openImage(path), ImageError, "File compressed by zstd");
  });
});

Deno.test("openImage says why a description beside a file is no JSON", async () => {
  await withDirectory(async (directory) => {
    const path = await writeImage(directory, '{ "format": "postcopy-raw", ');
    const error = await assertRejects(() => openImage(path), ImageError);
    assertEquals(error.code, "bad-description");
    assertStringIncludes(error.message, `${path}.json`);
  });
});

Deno.test("countPages says when the image is closed", async () => {
  await withDirectory(async (directory) => {
    const image = await openImage(await writeImage(directory, DESCRIPTION));
    const counting = image.countPages();
    image.close();
    image.close();
    await assertRejects(() => counting, ImageError, "closed");
  });
});
