import "../support/native.ts";
import { assert, assertEquals, assertInstanceOf, assertStringIncludes } from "@std/assert";
import { viewMemory } from "../../ffi/memory.ts";
import { ImageError, type ImageErrorCode } from "../../image/image_error.ts";
import { openImage } from "../../image/open_image.ts";
import { PageLocator } from "../../pages/page_locator.ts";
import { Random } from "../support/random.ts";
import { concat, deviceSection, PAGE, part, testPage, withDirectory } from "./captures.ts";
import { makeMappedRam, type MappedBlock, type MappedShape } from "./mapped_ram_files.ts";
import { openBytes } from "./spoiled.ts";

const RAM: MappedBlock = {
  name: "pc.ram",
  pages: 8,
  stored: new Map([[0, testPage(1)], [7, testPage(2)]]),
};
const BIOS: MappedBlock = { name: "pc.bios", pages: 65, stored: new Map([[64, testPage(3)]]) };
const SHAPE: MappedShape = {
  blocks: [RAM, BIOS],
  devices: concat(
    deviceSection(8, "timer", 2, new Uint8Array(24)),
    deviceSection(9, "cpu", 12, Uint8Array.of(0, 0, 0x7e, 0, 0, 0, 9, 4)),
  ),
  body: (encoder) => {
    encoder.command({ kind: "switchover-start" });
    part(encoder, () => {});
  },
};
const FILE = makeMappedRam(SHAPE);
const [FIRST, SECOND] = [FILE.regions[0]!, FILE.regions[1]!];

/** Every length that is not deep inside a block's pages, of which a few must do. */
function* lengths(): Generator<number> {
  const regions = [[FIRST, RAM], [SECOND, BIOS]] as const;
  for (let length = 0; length < FILE.bytes.length; length++) {
    const inside = regions.some(([{ pagesOffset }, { pages }]) =>
      length > pagesOffset + 1 && length < pagesOffset + pages * PAGE - 1
    );
    const gap = regions.some(([{ bitmapOffset, pagesOffset }]) =>
      length > bitmapOffset + 20 && length < pagesOffset - 1
    );
    if (!(inside || gap) || length % 4000 === 0) yield length;
  }
}

Deno.test("openImage refuses a mapped-ram file cut off anywhere as truncated", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    let cuts = 0;
    for (const length of lengths()) {
      const error = await openBytes(path, FILE.bytes.slice(0, length));
      assertInstanceOf(error, ImageError, `${length} bytes`);
      if (length >= 4) assertEquals(error.code, "truncated", `${length} bytes: ${error.message}`);
      cuts++;
    }
    assert(cuts > 400, `${cuts} cuts`);
    assertEquals(await openBytes(path, FILE.bytes), undefined);
  });
});

/** The file with another header of its second block. */
function withHeader(header: NonNullable<MappedBlock["header"]>): Uint8Array {
  return makeMappedRam({ ...SHAPE, blocks: [RAM, { ...BIOS, header }] }).bytes;
}

/** The file with a bit set in the bitmap of a block. */
function withBit({ bitmapOffset }: { bitmapOffset: number }, page: number): Uint8Array {
  const bytes = FILE.bytes.slice();
  bytes[bitmapOffset + (page >> 3)]! |= 1 << (page & 7);
  return bytes;
}

function withBlock(block: MappedBlock): Uint8Array {
  return makeMappedRam({ ...SHAPE, blocks: [RAM, block] }).bytes;
}

const header = SECOND.headerOffset;
const BIOS_BYTES = 65 * PAGE;
const DAMAGES: readonly {
  what: string;
  bytes: Uint8Array;
  code: ImageErrorCode;
  text: string;
  offset: number;
}[] = [
  {
    what: "a header of another version",
    bytes: withHeader({ version: 2 }),
    code: "malformed",
    text: "found version 2",
    offset: header,
  },
  {
    what: "pages that are not the machine's",
    bytes: withHeader({ pageSize: 16384 }),
    code: "malformed",
    text: "with pages of 16384 bytes",
    offset: header,
  },
  {
    what: "a bitmap in its own header",
    bytes: withHeader({ bitmapOffset: header + 27 }),
    code: "malformed",
    text: `bitmap at ${header + 27}`,
    offset: header,
  },
  {
    what: "a bitmap in the block before",
    bytes: withHeader({ bitmapOffset: FIRST.bitmapOffset }),
    code: "malformed",
    text: `bitmap at ${FIRST.bitmapOffset}`,
    offset: header,
  },
  {
    what: "a bitmap that runs into its pages",
    bytes: withHeader({ bitmapOffset: SECOND.pagesOffset - 8 }),
    code: "malformed",
    text: "a bitmap of 16 bytes",
    offset: header,
  },
  {
    what: "pages in the block before",
    bytes: withHeader({ pagesOffset: FIRST.pagesOffset }),
    code: "malformed",
    text: `pages at ${FIRST.pagesOffset}`,
    offset: header,
  },
  {
    what: "a bitmap and pages behind the end of the file",
    bytes: withHeader({ bitmapOffset: 2 ** 41, pagesOffset: 2 ** 42 }),
    code: "truncated",
    text: `pages of RAM block pc.bios do, ${BIOS_BYTES} bytes`,
    offset: 2 ** 42,
  },
  {
    what: "pages at an offset that is no number",
    bytes: withHeader({ pagesOffset: Number.MAX_SAFE_INTEGER }),
    code: "malformed",
    text: `pages at ${Number.MAX_SAFE_INTEGER}`,
    offset: header,
  },
  {
    what: "a bit behind the last page of a block",
    bytes: withBit(SECOND, 65),
    code: "malformed",
    text: "page 65 of RAM block pc.bios, which has 65 pages",
    offset: SECOND.bitmapOffset + 8,
  },
  {
    what: "the last bit of a block's bitmap",
    bytes: withBit(FIRST, 63),
    code: "malformed",
    text: "page 63 of RAM block pc.ram, which has 8 pages",
    offset: FIRST.bitmapOffset + 7,
  },
  {
    what: "a block that comes twice",
    bytes: withBlock(RAM),
    code: "malformed",
    text: "block number 2: pc.ram",
    offset: SECOND.headerOffset - 16,
  },
  {
    what: "a page in its stream",
    bytes: makeMappedRam({
      ...SHAPE,
      body: (encoder) =>
        part(encoder, () => {
          encoder.block("pc.ram");
          encoder.page(0, testPage(1), 0);
        }),
    }).bytes,
    code: "malformed",
    text: "a page of RAM block pc.ram in its stream",
    offset: FILE.listEnd,
  },
  {
    what: "memory that is discarded",
    bytes: makeMappedRam({
      ...SHAPE,
      body: (encoder) =>
        encoder.command({
          kind: "discard",
          block: "pc.ram",
          ranges: [{ start: 0, length: PAGE }],
        }),
    }).bytes,
    code: "malformed",
    text: "discards memory of RAM block pc.ram",
    offset: FILE.listEnd,
  },
];

for (const { what, bytes, code, text, offset } of DAMAGES) {
  Deno.test(`openImage refuses a mapped-ram file with ${what}`, async () => {
    await withDirectory(async (directory) => {
      const error = await openBytes(`${directory}/image`, bytes);
      assertInstanceOf(error, ImageError);
      assertStringIncludes(error.message, text);
      assertEquals(error.code, code, error.message);
      assertEquals(error.offset, offset, error.message);
      assertStringIncludes(error.message, `at byte ${offset}: `);
    });
  });
}

Deno.test("openImage refuses a mapped-ram file that leaves shared memory out", async () => {
  await withDirectory(async (directory) => {
    const bytes = FILE.bytes.slice();
    const capabilities = ["mapped-ram", "x-ignore-shared"];
    const { bytes: both } = makeMappedRam({
      ...SHAPE,
      configuration: { machine: "pc-q35-11.1", capabilities },
    });
    const error = await openBytes(`${directory}/image`, both);
    assertEquals(error?.code, "unsupported");
    assertEquals(await openBytes(`${directory}/image`, bytes), undefined);
  });
});

Deno.test("openImage opens a mapped-ram file with a wrong bit anywhere or says what is wrong", async () => {
  await withDirectory(async (directory) => {
    const random = new Random(11);
    for (let bit = 64; bit < FIRST.pagesOffset * 8; bit += random.between(1, 150)) {
      const bytes = FILE.bytes.slice();
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      await openBytes(`${directory}/image`, bytes);
    }
    for (let bit = (SECOND.headerOffset - 16) * 8; bit < (SECOND.bitmapOffset + 16) * 8; bit++) {
      const bytes = FILE.bytes.slice();
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      await openBytes(`${directory}/image`, bytes);
    }
  });
});

Deno.test("openImage opens a mapped-ram file whose pages are holes", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    const { pagesOffset } = SECOND;
    using file = await Deno.open(path, { write: true, createNew: true });
    await file.write(FILE.bytes.subarray(0, pagesOffset));
    await file.seek(pagesOffset + BIOS_BYTES, Deno.SeekMode.Start);
    await file.write(FILE.bytes.subarray(pagesOffset + BIOS_BYTES));
    using image = await openImage(path);
    const address = new PageLocator(image.pages).locate(
      image.layout.find("pc.bios")!.firstPage + 64,
    );
    assertEquals(viewMemory(address, PAGE), new Uint8Array(PAGE));
  });
});
