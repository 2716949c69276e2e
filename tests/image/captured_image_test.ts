import "../support/native.ts";
import { assertEquals, assertInstanceOf, assertRejects, assertStringIncludes } from "@std/assert";
import { deflateSync } from "node:zlib";
import type { StreamEncoder } from "../../migration/protocol/mod.ts";
import { ImageError } from "../../image/image_error.ts";
import { openImage } from "../../image/open_image.ts";
import { Random } from "../support/random.ts";
import {
  assertMemory,
  type CaptureShape,
  concat,
  deviceSection,
  makeCapture,
  PAGE,
  part,
  testPage,
  withDirectory,
} from "./captures.ts";
import { readMemory } from "./reference.ts";

const BLOCKS = [
  { name: "pc.ram", usedLength: 64 * PAGE },
  { name: "0000:00:01.0/vga.vram", usedLength: 3 * PAGE },
  { name: "pc.bios", usedLength: 33 * PAGE },
];

/** Opens a made stream and compares it with the plain reading of it, fresh and from the index. */
async function check(
  body: (encoder: StreamEncoder) => void,
  shape: CaptureShape = { blocks: BLOCKS },
): Promise<void> {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    const bytes = makeCapture(shape, body);
    await Deno.writeFile(path, bytes);
    const expected = readMemory(bytes);
    for (const state of ["built", "reused"]) {
      using image = await openImage(path);
      assertEquals(image.index!.state, state);
      assertMemory(image, expected);
    }
  });
}

Deno.test("openImage gives the last of repeated pages", async () => {
  await check((encoder) => {
    part(encoder, () => {
      encoder.block("pc.ram");
      for (let page = 0; page < 64; page++) encoder.page(page * PAGE, testPage(page), 0);
    });
    part(encoder, () => {
      encoder.zeroPage(5 * PAGE, 0);
      encoder.page(6 * PAGE, testPage(1006), 0);
      encoder.block("pc.bios");
      encoder.zeroPage(32 * PAGE, 0);
      encoder.page(32 * PAGE, testPage(2000), 0);
      encoder.block("pc.ram");
      encoder.page(6 * PAGE, testPage(3006), 0);
      encoder.page(5 * PAGE, testPage(3005), 0);
      encoder.zeroPage(7 * PAGE, 0);
    });
  });
});

Deno.test("openImage applies XBZRLE to the previous content, whatever it was", async () => {
  // Keep 10, replace 3; keep 4000, replace 2; the rest stays.
  const delta = Uint8Array.of(10, 3, 1, 2, 3, 0xa0, 0x1f, 2, 8, 9);
  const first = Uint8Array.of(0, 1, 0xff);
  await check((encoder) => {
    part(encoder, () => {
      encoder.block("pc.ram");
      encoder.page(0, testPage(0), 0);
      encoder.zeroPage(PAGE, 0);
      encoder.page(3 * PAGE, testPage(3), 0);
      encoder.page(4 * PAGE, testPage(4), 0);
    });
    part(encoder, () => {
      for (const page of [0, 1, 2, 3]) encoder.xbzrlePage(page * PAGE, delta, 0, delta.length);
      encoder.xbzrlePage(0, first, 0, first.length); // on a reconstructed page
      encoder.page(PAGE, testPage(77), 0); // a raw page after it
      encoder.zeroPage(3 * PAGE, 0);
      encoder.xbzrlePage(3 * PAGE, first, 0, first.length); // once more after a zero page
    });
  });
});

Deno.test("openImage inflates compressed pages and takes fill bytes other than 0", async () => {
  await check((encoder) => {
    part(encoder, () => {
      encoder.block("pc.bios");
      for (let page = 0; page < 20; page++) {
        const packed = deflateSync(testPage(page % 3).fill(page, 100));
        encoder.compressedPage(page * PAGE, packed, 0, packed.length);
      }
      const packed = deflateSync(testPage(500));
      encoder.compressedPage(3 * PAGE, packed, 0, packed.length);
      encoder.zeroPage(4 * PAGE, 0);
      encoder.zeroPage(5 * PAGE, 0x5a);
      encoder.zeroPage(30 * PAGE, 0xff);
      encoder.xbzrlePage(30 * PAGE, Uint8Array.of(1, 1, 7), 0, 3);
    });
  });
});

Deno.test("openImage gives random streams as the plain reading does", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new Random(seed);
    await check((encoder) => {
      for (let section = 0; section < 5; section++) {
        part(encoder, () => {
          for (let record = 0; record < 60; record++) randomRecord(encoder, random);
        });
        if (random.oneIn(2)) encoder.command({ kind: "switchover-start" });
        if (random.oneIn(2)) encoder.command({ kind: "ping", value: section });
      }
    });
  }
});

function randomRecord(encoder: StreamEncoder, random: Random): void {
  const block = random.pick(BLOCKS);
  // A continued record would be of the block before.
  encoder.block(block.name);
  const offset = random.below(block.usedLength / PAGE) * PAGE;
  switch (random.below(5)) {
    case 0:
      return encoder.zeroPage(offset, 0);
    case 1: {
      const packed = deflateSync(testPage(random.u32()));
      return encoder.compressedPage(offset, packed, 0, packed.length);
    }
    case 2: {
      const length = random.between(1, 100);
      const delta = concat(Uint8Array.of(random.below(128), length), random.bytes(length));
      return encoder.xbzrlePage(offset, delta, 0, delta.length);
    }
    default:
      return encoder.page(offset, testPage(random.u32()), 0);
  }
}

Deno.test("openImage tells what the stream says besides memory", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    const devices = concat(
      deviceSection(9, "timer", 2, new Uint8Array(24)),
      deviceSection(4, "cpu", 12, Uint8Array.of(0x7e, 0, 0, 0, 4, 4, 0, 0, 0, 1, 1, 65, 0, 0)),
    );
    const description = JSON.stringify({
      page_size: PAGE,
      devices: [
        { name: "timer", instance_id: 0, fields: [{ name: "data", size: 24 }] },
        { name: "cpu", instance_id: 0, version: 12, fields: [{ name: "data", size: 14 }] },
      ],
    });
    const configuration = { machine: "pc-q35-7.2", uuid: new Uint8Array(16).fill(0xab) };
    const shape = { blocks: BLOCKS, devices, description, configuration };
    const bytes = makeCapture(shape, (encoder) => {
      encoder.command({ kind: "ping", value: 1 });
      part(encoder, () => {
        encoder.block("pc.ram");
        encoder.page(0, testPage(1), 0);
        encoder.zeroPage(PAGE, 0);
      });
      encoder.command({ kind: "ping", value: 2 });
      encoder.command({ kind: "switchover-start" });
    });
    await Deno.writeFile(path, bytes);
    for (const state of ["built", "reused"]) {
      using image = await openImage(path);
      assertEquals(image.index!.state, state);
      assertEquals(image.kind, "qemu-stream");
      assertEquals(image.machine, "pc-q35-7.2");
      assertEquals(image.configuration, configuration);
      assertEquals(image.blocks, BLOCKS);
      assertEquals(image.ramSection, { id: 2, instance: 0, version: 4 });
      assertEquals(image.deviceState, devices);
      assertEquals(image.earlySections.length, 0);
      assertEquals(image.deviceSections, [
        { name: "timer", instance: 0, version: 2, size: 24 },
        { name: "cpu", instance: 0, version: 12, size: 14 },
      ]);
      assertEquals(image.commands, [
        { kind: "ping", count: 2 },
        { kind: "switchover-start", count: 1 },
      ]);
      assertEquals(image.counts, [
        { data: 1, zero: 1, missing: 62 },
        { data: 0, zero: 0, missing: 3 },
        { data: 0, zero: 0, missing: 33 },
      ]);
      assertEquals(await image.countPages(), image.counts);
    }
  });
});

Deno.test("openImage forgets pages that the stream discards", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    const body = (encoder: StreamEncoder) => {
      part(encoder, () => {
        encoder.block("pc.ram");
        for (let page = 0; page < 10; page++) encoder.page(page * PAGE, testPage(page), 0);
      });
      const ranges = [{ start: PAGE, length: 3 * PAGE }, { start: 6 * PAGE, length: PAGE }];
      encoder.command({ kind: "discard", block: "pc.ram", ranges });
      part(encoder, () => encoder.page(2 * PAGE, testPage(22), 0));
    };
    await Deno.writeFile(path, makeCapture({ blocks: BLOCKS }, body));
    using image = await openImage(path);
    assertEquals(image.counts![0], { data: 7, zero: 0, missing: 57 });
  });
});

Deno.test("openImage skips device sections before the memory and keeps them", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    const early = concat(
      deviceSection(0x1234, "virtio-mem-early", 1, concat(testPage(1), Uint8Array.of(3, 0x72))),
      deviceSection(3, "another", 9, new TextEncoder().encode("\x7e\0\0\0\x03\x01ram")),
    );
    const body = (encoder: StreamEncoder) => {
      part(encoder, () => {
        encoder.block("pc.ram");
        for (let page = 0; page < 64; page++) encoder.page(page * PAGE, testPage(page), 0);
        encoder.xbzrlePage(PAGE, Uint8Array.of(1, 1, 7), 0, 3);
      });
    };
    const bytes = makeCapture({ blocks: BLOCKS, early }, body);
    await Deno.writeFile(path, bytes);
    for (const state of ["built", "reused"]) {
      using image = await openImage(path);
      assertEquals(image.index!.state, state);
      assertEquals(image.earlySections, early);
      assertEquals(image.earlySectionCount, 2);
      assertEquals(image.deviceSections.map(({ name }) => name), [
        "virtio-mem-early",
        "another",
        "cpu",
      ]);
      assertMemory(image, readMemory(makeCapture({ blocks: BLOCKS }, body)));
      assertEquals(image.counts![0], { data: 64, zero: 0, missing: 0 });
    }
  });
});

Deno.test("openImage keeps the page size of blocks of huge pages", async () => {
  const blocks = [{ name: "pc.ram", usedLength: 1024 * PAGE, pageSize: 512 * PAGE }, BLOCKS[1]!];
  await withDirectory(async (directory) => {
    await Deno.writeFile(`${directory}/image`, makeCapture({ blocks }, () => {}));
    using image = await openImage(`${directory}/image`);
    assertEquals(image.blocks, blocks);
    assertEquals(image.layout.blocks[0]!.pageSize, 512 * PAGE);
  });
});

/** Opening the stream fails so. */
async function refused(bytes: Uint8Array, code: string, text: string): Promise<ImageError> {
  let caught: unknown;
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    await Deno.writeFile(path, bytes);
    caught = await assertRejects(() => openImage(path));
    assertEquals([...Deno.readDirSync(directory)].map(({ name }) => name), ["image"]);
    assertEquals(await Deno.readFile(path), bytes);
  });
  assertInstanceOf(caught, ImageError, String(caught));
  assertEquals(caught.code, code, caught.message);
  assertStringIncludes(caught.message, text);
  return caught;
}

Deno.test("openImage refuses captures with capabilities that leave memory elsewhere", async () => {
  const capability = "x-ignore-shared";
  const configuration = { machine: "pc-q35-11.1", capabilities: [capability] };
  await refused(
    makeCapture({ blocks: BLOCKS, configuration }, () => {}),
    "unsupported",
    capability,
  );
});

Deno.test("openImage refuses target pages of other than 4096 bytes", async () => {
  const configuration = { machine: "virt-11.1", targetPageBits: 14 };
  const blocks = [{ name: "mach-virt.ram", usedLength: 16384 }];
  await refused(makeCapture({ blocks, configuration }, () => {}), "unsupported", "16384 bytes");
});

Deno.test("openImage refuses the recording of a postcopy migration", async () => {
  for (
    const body of [
      (encoder: StreamEncoder) => encoder.packaged(0),
      (encoder: StreamEncoder) => encoder.command({ kind: "listen" }),
      (encoder: StreamEncoder) => encoder.command({ kind: "run" }),
    ]
  ) await refused(makeCapture({ blocks: BLOCKS }, body), "unsupported", "postcopy");
});

Deno.test("openImage refuses iterable sections other than memory by name", async () => {
  const early = concat(Uint8Array.of(1), deviceSection(5, "dirty-bitmap", 1, testPage(1)).slice(1));
  await refused(makeCapture({ blocks: BLOCKS, early }, () => {}), "unsupported", "dirty-bitmap");
});

Deno.test("openImage refuses pages of memory that was not announced", async () => {
  const beyond = makeCapture({ blocks: BLOCKS }, (encoder) => {
    part(encoder, () => {
      encoder.block("pc.ram");
      encoder.page(64 * PAGE, testPage(0), 0);
    });
  });
  assertEquals((await refused(beyond, "malformed", "pc.ram")).offset! > 8, true);
  const unknown = makeCapture({ blocks: BLOCKS }, (encoder) => {
    part(encoder, () => {
      encoder.block("pc.rom");
      encoder.zeroPage(0, 0);
    });
  });
  await refused(unknown, "malformed", "pc.rom");
  const discard = makeCapture({ blocks: BLOCKS }, (encoder) => {
    const ranges = [{ start: 60 * PAGE, length: 5 * PAGE }];
    encoder.command({ kind: "discard", block: "pc.ram", ranges });
  });
  await refused(discard, "malformed", "discards");
});

Deno.test("openImage refuses pages that cannot be decoded and names the place", async () => {
  const garbage = makeCapture({ blocks: BLOCKS }, (encoder) => {
    part(encoder, () => {
      encoder.block("pc.ram");
      encoder.compressedPage(0, testPage(9), 0, 50);
    });
  });
  const error = await refused(garbage, "malformed", "zlib");
  assertEquals(garbage.slice(error.offset, error.offset! + 50), testPage(9).slice(0, 50));
  const runs = makeCapture({ blocks: BLOCKS }, (encoder) => {
    part(encoder, () => {
      encoder.block("pc.ram");
      encoder.xbzrlePage(0, Uint8Array.of(1, 9, 1), 0, 3);
    });
  });
  await refused(runs, "malformed", "run");
});

Deno.test("openImage refuses a file that is compressed or of another kind", async () => {
  await refused(Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 0), "not-an-image", "zstd");
  await refused(new TextEncoder().encode("#!/bin/sh\nexit 0\n"), "not-an-image", "23212f");
  await refused(new Uint8Array(0), "truncated", "0 bytes");
});

Deno.test("openImage says when there is no such file, or it is a directory", async () => {
  await withDirectory(async (directory) => {
    const missing = await assertRejects(() => openImage(`${directory}/none`), ImageError);
    assertEquals(missing.code, "not-found");
    const other = await assertRejects(() => openImage(directory), ImageError);
    assertEquals(other.code, "not-an-image");
  });
});
