import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { deflateSync } from "node:zlib";
import type { ImageErrorCode } from "../../image/image_error.ts";
import { openImage } from "../../image/open_image.ts";
import { Random } from "../support/random.ts";
import {
  concat,
  deviceSection,
  makeCapture,
  PAGE,
  part,
  testPage,
  withDirectory,
} from "./captures.ts";
import { openBytes } from "./spoiled.ts";

const DEVICES = concat(
  deviceSection(8, "timer", 2, new Uint8Array(24)),
  deviceSection(9, "cpu", 12, Uint8Array.of(0, 0, 0x7e, 0, 0, 0, 9, 4)),
);
const DESCRIPTION = JSON.stringify({
  page_size: PAGE,
  devices: [{ name: "timer", instance_id: 0, fields: [{ name: "data", size: 24 }] }],
});
const PAGES = [testPage(1), testPage(2)];
const PACKED = deflateSync(new Uint8Array(PAGE).fill(3));

/** A small stream with every kind of element. */
const CAPTURE = makeCapture({
  blocks: [{ name: "pc.ram", usedLength: 8 * PAGE }, { name: "pc.bios", usedLength: PAGE }],
  devices: DEVICES,
  description: DESCRIPTION,
}, (encoder) => {
  encoder.command({ kind: "ping", value: 1 });
  part(encoder, () => {
    encoder.block("pc.ram");
    encoder.page(0, PAGES[0]!, 0);
    encoder.zeroPage(PAGE, 0);
    encoder.xbzrlePage(0, Uint8Array.of(1, 1, 7), 0, 3);
  });
  encoder.command({ kind: "switchover-start" });
  part(encoder, () => {
    encoder.compressedPage(2 * PAGE, PACKED, 0, PACKED.length);
    encoder.block("pc.bios");
    encoder.page(0, PAGES[1]!, 0);
  });
});
/** Where the stream would be complete for a machine that describes nothing. */
const WITHOUT_DESCRIPTION = CAPTURE.length - 5 - DESCRIPTION.length;

/** Every length but those that end inside a page's bytes, of which a few must do. */
function* lengths(): Generator<number> {
  const starts = PAGES.map((page) => find(CAPTURE, page.subarray(0, 64)));
  for (let length = 0; length < CAPTURE.length; length++) {
    const inside = starts.some((start) => length > start + 1 && length < start + PAGE - 1);
    if (!inside || length % 1000 === 0) yield length;
  }
}

function find(bytes: Uint8Array, pattern: Uint8Array): number {
  for (let at = 0;; at++) if (pattern.every((byte, i) => bytes[at + i] === byte)) return at;
}

/** Opens bytes as an image; returns the error's code, if one comes, which is of a place in them. */
async function codeOf(path: string, bytes: Uint8Array): Promise<ImageErrorCode | undefined> {
  const error = await openBytes(path, bytes);
  assert((error?.offset ?? 0) <= bytes.length, error?.message);
  return error?.code;
}

Deno.test("openImage refuses a capture cut off anywhere before its end as truncated", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    let cuts = 0;
    for (const length of lengths()) {
      const code = await codeOf(path, CAPTURE.slice(0, length));
      // QEMU needs no description either, nor the rest of one.
      if (length >= WITHOUT_DESCRIPTION) assertEquals(code, undefined, `${length} bytes`);
      else if (length < 4) assert(code !== undefined);
      else assertEquals(code, "truncated", `${length} bytes`);
      cuts++;
    }
    assert(cuts > 400, `${cuts} cuts`);
    assertEquals(await codeOf(path, CAPTURE), undefined);
  });
});

Deno.test("openImage refuses a capture whose header has a wrong bit", async () => {
  await withDirectory(async (directory) => {
    for (let bit = 0; bit < 64; bit++) {
      const bytes = CAPTURE.slice();
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      const code = await codeOf(`${directory}/image`, bytes);
      assertEquals(code, bit < 32 ? "not-an-image" : "malformed");
    }
  });
});

Deno.test("openImage opens a capture with a wrong bit anywhere or says what is wrong", async () => {
  await withDirectory(async (directory) => {
    const random = new Random(7);
    for (let bit = 64; bit < CAPTURE.length * 8; bit += random.between(1, 300)) {
      const bytes = CAPTURE.slice();
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      await codeOf(`${directory}/image`, bytes);
    }
  });
});

Deno.test("openImage opens a capture with any bytes behind its end", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    const bare = CAPTURE.slice(0, WITHOUT_DESCRIPTION);
    const longer = CAPTURE.slice(CAPTURE.length - 300, -1);
    for (
      const more of [Uint8Array.of(0), Uint8Array.of(6), new Uint8Array(PAGE), testPage(3), longer]
    ) {
      for (const whole of [CAPTURE, bare]) {
        assertEquals(await codeOf(path, concat(whole, more)), undefined);
        using image = await openImage(path);
        assertEquals(image.deviceState, DEVICES);
        assertEquals(image.description, whole === CAPTURE ? DESCRIPTION : undefined);
      }
    }
  });
});

Deno.test("openImage refuses memory that was cut off in a volume of zeros", async () => {
  await withDirectory(async (directory) => {
    const end = find(CAPTURE, PAGES[1]!.subarray(0, 64)) + PAGE + 8 + 5; // behind a footer of the memory
    assertEquals(CAPTURE[end - 5], 0x7e);
    const bytes = concat(CAPTURE.slice(0, end), new Uint8Array(2 * PAGE));
    assertEquals(await codeOf(`${directory}/image`, bytes), "truncated");
  });
});
