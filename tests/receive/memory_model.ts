/** The plain way to take in a migration: all memory in arrays, one record after the other. */

import { assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { viewMemory } from "../../ffi/memory.ts";
import {
  type BlockEntry,
  type Command,
  decodeXbzrle,
  IgnoreStream,
  inflatePage,
} from "../../migration/protocol/mod.ts";
import type { Image } from "../../image/image.ts";
import { PageLocator } from "../../pages/page_locator.ts";

const PAGE = 4096;
const ZEROS = new Uint8Array(PAGE);

/** Memory by block name. */
export type MemoryModel = ReadonlyMap<string, Uint8Array>;

/** Builds the memory that a decoder's records describe. One for each channel, with the same blocks. */
export class ModelChannel extends IgnoreStream {
  /** Content of each block. */
  readonly blocks: Map<string, Uint8Array>;
  #memory: Uint8Array = ZEROS;

  /** @param blocks another channel's */
  constructor(blocks: Map<string, Uint8Array> = new Map<string, Uint8Array>()) {
    super();
    this.blocks = blocks;
  }

  override blockEntry({ name, usedLength }: BlockEntry): void {
    this.blocks.set(name, new Uint8Array(usedLength));
  }

  override block(name: string): void {
    this.#memory = this.blocks.get(name)!;
  }

  override page(offset: number, bytes: Uint8Array, at: number): void {
    this.#memory.set(bytes.subarray(at, at + PAGE), offset);
  }

  override zeroPage(offset: number): void {
    this.#memory.fill(0, offset, offset + PAGE);
  }

  override xbzrlePage(offset: number, bytes: Uint8Array, at: number, length: number): void {
    decodeXbzrle(this.#memory.subarray(offset, offset + PAGE), bytes, at, length);
  }

  override compressedPage(offset: number, bytes: Uint8Array, at: number, length: number): void {
    this.#memory.set(inflatePage(bytes, at, length, PAGE), offset);
  }

  override command(command: Command): void {
    if (command.kind !== "discard") return;
    const memory = this.blocks.get(command.block)!;
    for (const { start, length } of command.ranges) memory.fill(0, start, start + length);
  }
}

/** Says that an image gives exactly this memory, byte for byte; blocks without a model are passed over. */
export function assertImageMemory(image: Image, expected: MemoryModel): void {
  const locator = new PageLocator(image.pages);
  let compared = 0;
  for (const { name, firstPage, pageCount } of image.layout.blocks) {
    const memory = expected.get(name);
    if (memory === undefined) continue; // an old QEMU does not say where all of them are
    assertEquals(memory.length, pageCount * PAGE, name);
    for (let page = 0; page < pageCount; page++) {
      const address = locator.locate(firstPage + page);
      const found = address === 0 ? ZEROS : viewMemory(address, PAGE);
      const wanted = memory.subarray(page * PAGE, (page + 1) * PAGE);
      if (Buffer.compare(found, wanted) !== 0) throw new Error(`Page ${page} of ${name} differs`);
      compared++;
    }
  }
  if (compared === 0) throw new Error("No page was compared");
}
