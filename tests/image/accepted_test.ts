/** Files that QEMU loads: they open, or it is said what about them is not supported. */
import "../support/native.ts";
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { ImageError } from "../../image/image_error.ts";
import { openImage } from "../../image/open_image.ts";
import { joinDeviceState } from "../../migration/protocol/device_state.ts";
import { StreamEncoder } from "../../migration/protocol/mod.ts";
import { Random } from "../support/random.ts";
import {
  assertMemory,
  concat,
  deviceSection,
  makeCapture,
  PAGE,
  part,
  RAM,
  testPage,
  withDirectory,
} from "./captures.ts";

const DEVICES = concat(
  deviceSection(4, "timer", 2, new Uint8Array(24).fill(6)),
  deviceSection(9, "cpu", 12, Uint8Array.of(0, 0, 0x7e, 0, 0, 0, 9, 4)),
);
const DESCRIPTION = JSON.stringify({
  page_size: PAGE,
  devices: [
    { name: "timer", instance_id: 0, version: 2, fields: [{ name: "data", size: 24 }] },
    { name: "cpu", instance_id: 0, version: 12, fields: [{ name: "data", size: 8 }] },
  ],
});
const BLOCKS = [{ name: "pc.ram", usedLength: 2 * PAGE }];
const MEMORY = {
  blocks: new Map([["pc.ram", concat(testPage(1), testPage(2))]]),
  mentioned: new Set(["pc.ram 0", `pc.ram ${PAGE}`]),
  records: new Map<number, number>(),
};

function writePages(encoder: StreamEncoder): void {
  part(encoder, () => {
    encoder.block("pc.ram");
    encoder.page(0, testPage(1), 0);
    encoder.page(PAGE, testPage(2), 0);
  });
}

/** A stream as the capability `background-snapshot` writes it: no SECTION_END. */
function backgroundSnapshot(): Uint8Array {
  const encoder = new StreamEncoder();
  encoder.header();
  encoder.configuration({ machine: "pc-q35-10.0" });
  encoder.sectionStart(RAM, "ram", 0, 4);
  encoder.blockList(2 * PAGE);
  for (const block of BLOCKS) encoder.blockEntry(block);
  encoder.endOfSection();
  encoder.sectionFooter(RAM);
  writePages(encoder);
  const end = joinDeviceState({ devices: DEVICES, description: DESCRIPTION });
  encoder.deviceState(end, 0, end.length);
  return encoder.take();
}

const WHOLE = makeCapture(
  { blocks: BLOCKS, devices: DEVICES, description: DESCRIPTION },
  writePages,
);
const BARE = makeCapture({ blocks: BLOCKS, devices: DEVICES }, writePages);

const GOOD: readonly (readonly [string, Uint8Array, string | undefined])[] = [
  ["whole", WHOLE, DESCRIPTION],
  ["without SECTION_END", backgroundSnapshot(), DESCRIPTION],
  [
    "without SECTION_END and padded",
    concat(backgroundSnapshot(), new Uint8Array(9000)),
    DESCRIPTION,
  ],
  ["padded with zeros", concat(WHOLE, new Uint8Array(PAGE - 1)), DESCRIPTION],
  ["on a volume with other bytes", concat(WHOLE, new Random(41).bytes(70_000)), DESCRIPTION],
  ["without a description", BARE, undefined],
  ["without a description and padded", concat(BARE, new Uint8Array(2 * PAGE)), undefined],
  ["without a description on a volume", concat(BARE, new Random(42).bytes(70_000)), undefined],
  ["with a description that was cut", WHOLE.slice(0, -1), undefined],
];

for (const [what, bytes, description] of GOOD) {
  Deno.test(`openImage opens a capture ${what}, and again from its index`, async () => {
    await withDirectory(async (directory) => {
      const path = `${directory}/image`;
      await Deno.writeFile(path, bytes);
      for (const state of ["built", "reused"]) {
        using image = await openImage(path);
        assertEquals(image.index?.state, state);
        assertMemory(image, MEMORY);
        assertEquals(image.deviceState, DEVICES);
        assertEquals(image.deviceSections.map(({ name }) => name), ["timer", "cpu"]);
        assertEquals(image.description, description);
      }
    });
  });
}

/** Opens what must be refused. */
async function refused(bytes: Uint8Array): Promise<ImageError> {
  let error: ImageError | undefined;
  await withDirectory(async (directory) => {
    await Deno.writeFile(`${directory}/image`, bytes);
    error = await assertRejects(() => openImage(`${directory}/image`), ImageError);
  });
  return error!;
}

for (const name of ["dirty-bitmap", "block", "0000:00:03.0/vfio", "spapr/htab"]) {
  Deno.test(`openImage refuses a capture with the section ${name} by its name`, async () => {
    const bytes = makeCapture({ blocks: BLOCKS, devices: DEVICES }, (encoder) => {
      encoder.sectionStart(3, name, 0, 1);
      encoder.sectionFooter(3);
      writePages(encoder);
    });
    const { code, message } = await refused(bytes);
    assertEquals(code, "unsupported");
    assertStringIncludes(message, `section of unknown length, ${name}, at byte `);
  });
}

Deno.test("openImage refuses a capture whose pages went over other connections", async () => {
  const bytes = makeCapture({ blocks: BLOCKS, devices: DEVICES }, (encoder) => {
    part(encoder, () => encoder.multifdFlush());
  });
  const { code, message } = await refused(bytes);
  assertEquals(code, "unsupported");
  assertStringIncludes(message, "capability multifd on");
});

/** A machine whose stream does not name its page size. */
function captureWithPages(size: number, pages: number): Uint8Array {
  const encoder = new StreamEncoder(size);
  encoder.header();
  encoder.configuration({ machine: "versatilepb" });
  encoder.sectionStart(RAM, "ram", 0, 4);
  encoder.blockList(pages * size);
  encoder.blockEntry({ name: "versatile.ram", usedLength: pages * size });
  encoder.endOfSection();
  encoder.sectionFooter(RAM);
  const random = new Random(size);
  encoder.sectionEnd(RAM);
  encoder.block("versatile.ram");
  for (let page = 0; page < pages; page++) {
    if (page % 3 === 1) encoder.zeroPage(page * size, 0);
    else encoder.page(page * size, random.bytes(size), 0);
  }
  encoder.endOfSection();
  encoder.sectionFooter(RAM);
  encoder.deviceState(DEVICES, 0, DEVICES.length);
  encoder.endOfStream();
  return encoder.take();
}

for (const size of [1024, 2048, 8192, 16384, 65536]) {
  for (const pages of [5, 64]) {
    Deno.test(`openImage says that ${pages} pages of ${size} bytes are not supported`, async () => {
      const { code, message } = await refused(captureWithPages(size, pages));
      assertEquals([code, message.includes(`with pages of ${size} bytes: `)], [
        "unsupported",
        true,
      ]);
    });
  }
}
