/** Captured streams made here, and what an image of them must say. */

import { assertEquals } from "@std/assert";
import { viewMemory } from "../../ffi/memory.ts";
import {
  type BlockEntry,
  type Configuration,
  StreamEncoder,
} from "../../migration/protocol/mod.ts";
import type { Image } from "../../image/image.ts";
import { PageLocator } from "../../pages/page_locator.ts";
import type { Memory } from "./reference.ts";

/** Bytes of a page. */
export const PAGE = 4096;
/** Section id of the memory in the streams made here. */
export const RAM = 2;

/** How a made stream begins and ends. */
export interface CaptureShape {
  readonly configuration?: Configuration;
  readonly blocks: readonly BlockEntry[];
  /** Device sections before the memory. */
  readonly early?: Uint8Array;
  /** Device sections after it. */
  readonly devices?: Uint8Array;
  /** JSON at the end. */
  readonly description?: string;
}

/** Makes a stream; `body` writes sections and commands between the block list and the devices. */
export function makeCapture(
  shape: CaptureShape,
  body: (encoder: StreamEncoder) => void,
): Uint8Array {
  const encoder = new StreamEncoder();
  encoder.header();
  encoder.configuration(shape.configuration ?? { machine: "pc-q35-10.0" });
  if (shape.early !== undefined) encoder.deviceState(shape.early, 0, shape.early.length);
  encoder.sectionStart(RAM, "ram", 0, 4);
  encoder.blockList(shape.blocks.reduce((sum, { usedLength }) => sum + usedLength, 0));
  for (const block of shape.blocks) encoder.blockEntry(block);
  encoder.endOfSection();
  encoder.sectionFooter(RAM);
  body(encoder);
  encoder.sectionEnd(RAM);
  encoder.endOfSection();
  encoder.sectionFooter(RAM);
  const devices = shape.devices ?? deviceSection(7, "cpu", 3, new Uint8Array(11).fill(0x7e));
  encoder.deviceState(devices, 0, devices.length);
  encoder.endOfStream();
  if (shape.description !== undefined) {
    const json = new TextEncoder().encode(shape.description);
    encoder.vmDescription(json.length);
    encoder.vmDescriptionData(json, 0, json.length);
  }
  return encoder.take();
}

/** Writes a SECTION_PART. */
export function part(encoder: StreamEncoder, records: () => void): void {
  encoder.sectionPart(RAM);
  records();
  encoder.endOfSection();
  encoder.sectionFooter(RAM);
}

/** A SECTION_FULL with its footer. */
export function deviceSection(
  id: number,
  name: string,
  version: number,
  payload: Uint8Array,
): Uint8Array {
  const text = new TextEncoder().encode(name);
  const bytes = new Uint8Array(6 + text.length + 8 + payload.length + 5);
  const view = new DataView(bytes.buffer);
  bytes[0] = 4;
  view.setUint32(1, id);
  bytes[5] = text.length;
  bytes.set(text, 6);
  view.setUint32(10 + text.length, version);
  bytes.set(payload, 14 + text.length);
  bytes[bytes.length - 5] = 0x7e;
  view.setUint32(bytes.length - 4, id);
  return bytes;
}

/** Bytes one after the other. */
export function concat(...pieces: Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** A page that no other number gives. */
export function testPage(number: number): Uint8Array {
  const words = new Uint32Array(PAGE / 4);
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(number * 1031 + i + 1, 0x9e37_79b1);
  return new Uint8Array(words.buffer);
}

/** Says that an image gives each page of the memory, byte for byte, and knows which are missing. */
export function assertMemory(image: Image, expected: Memory): void {
  const locator = new PageLocator(image.pages);
  assertEquals(image.layout.blocks.map(({ name }) => name), [...expected.blocks.keys()]);
  for (const [index, { name, firstPage, pageCount }] of image.layout.blocks.entries()) {
    const memory = expected.blocks.get(name)!;
    assertEquals(memory.length, pageCount * PAGE);
    let missing = 0;
    for (let page = 0; page < pageCount; page++) {
      const address = locator.locate(firstPage + page);
      const found = address === 0 ? ZEROS : viewMemory(address, PAGE);
      const wanted = memory.subarray(page * PAGE, (page + 1) * PAGE);
      if (!sameBytes(found, wanted)) throw new Error(`Page ${page} of ${name} differs`);
      if (!expected.mentioned.has(`${name} ${page * PAGE}`)) missing++;
    }
    if (image.counts !== undefined) assertEquals(image.counts[index]!.missing, missing, name);
  }
}

const ZEROS = new Uint8Array(PAGE);

function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  for (let i = 0; i < PAGE; i++) if (one[i] !== other[i]) return false;
  return true;
}

/** Runs with a directory of its own, and removes it. */
export async function withDirectory<T>(use: (directory: string) => Promise<T>): Promise<T> {
  const directory = await Deno.makeTempDir({ prefix: "postcopy-image-" });
  try {
    return await use(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}
