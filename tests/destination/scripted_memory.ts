/** Memory as a scripted source changes it, and as the destination must have it in the end. */

import { assert } from "@std/assert";
import type { GuestBlock } from "../../migration/memory/guest_block.ts";
import { viewMemory } from "../../ffi/memory.ts";
import type { CompressionMethod } from "../../migration/compression.ts";
import type { Command } from "../../migration/protocol/command.ts";
import { discardCommands } from "../../migration/protocol/discard.ts";
import { joinPackage } from "../../migration/protocol/package.ts";
import type { RamEncoder } from "../../migration/protocol/ram_encoder.ts";
import type { HostileSource } from "../hostile/scripted_source.ts";
import { packer } from "./packer.ts";

const PAGE = 4096;
const SECTION = 2;
const DEVICE = 7;
const DESCRIPTION = new TextEncoder().encode('{"page_size":4096,"devices":[]}');

const packers: Partial<Record<CompressionMethod, ReturnType<typeof packer>>> = {};

/** How a page travels. */
export type Coding = "plain" | "xbzrle" | CompressionMethod;

/** The memory of two blocks, `ram` and `rom`, their pages numbered through. */
export class ScriptedMemory {
  /** Pages of each block, by name. */
  readonly blocks: Readonly<Record<string, number>>;
  /** All pages in the order of the blocks. */
  readonly bytes: Uint8Array;
  readonly #words: Uint32Array;
  readonly #source: HostileSource;

  /** @param blocks as the source announces them */
  constructor(source: HostileSource, blocks: Readonly<Record<string, number>>) {
    this.blocks = blocks;
    this.bytes = new Uint8Array(
      PAGE * Object.values(blocks).reduce((sum, pages) => sum + pages, 0),
    );
    this.#words = new Uint32Array(this.bytes.buffer);
    this.#source = source;
  }

  /** Pages of all blocks. */
  get pages(): number {
    return this.bytes.length / PAGE;
  }

  /** Encodes a section with pages in this version of their content; version 0 is zero. */
  write(pages: Iterable<number>, version: number, coding: Coding = "plain"): void {
    const { stream } = this.#source;
    stream.sectionPart(SECTION);
    for (const page of pages) {
      this.#change(page, version);
      this.encode(stream, page, coding);
    }
    stream.endOfSection();
    stream.sectionFooter(SECTION);
  }

  /** Encodes a section with pages as they are. */
  send(pages: Iterable<number>): void {
    const { stream } = this.#source;
    stream.sectionPart(SECTION);
    for (const page of pages) this.encode(stream, page);
    stream.endOfSection();
    stream.sectionFooter(SECTION);
  }

  /** Encodes a page as it is. */
  encode(encoder: RamEncoder, page: number, coding: Coding = "plain"): void {
    const { name, offset } = this.where(page);
    encoder.block(name);
    const content = this.bytes.subarray(page * PAGE, (page + 1) * PAGE);
    if (coding === "zlib" || coding === "zstd") {
      const compressed = (packers[coding] ??= packer(coding))(content.slice());
      return encoder.compressedPage(offset, compressed, 0, compressed.length);
    }
    // XBZRLE as a source encodes that writes whole pages: nothing kept, then all that changed.
    if (coding === "xbzrle") {
      const changed = Uint8Array.of(100, 0x80, 0x01, ...content.subarray(100, 228));
      return encoder.xbzrlePage(offset, changed, 0, changed.length);
    }
    if (content.every((byte) => byte === 0)) encoder.zeroPage(offset, 0);
    else encoder.page(offset, content, 0);
  }

  /** Changes 128 bytes of pages, and encodes that as the difference to what was there. */
  writeDifference(pages: Iterable<number>, version: number): void {
    const { stream } = this.#source;
    stream.sectionPart(SECTION);
    for (const page of pages) {
      this.bytes.fill(version, page * PAGE + 100, page * PAGE + 228);
      this.encode(stream, page, "xbzrle");
    }
    stream.endOfSection();
    stream.sectionFooter(SECTION);
  }

  /** Encodes the discard of pages, one range for those in a row. */
  discard(pages: Iterable<number>): void {
    const ranges: Record<string, { start: number; length: number }[]> = {};
    for (const page of pages) {
      const { name, offset } = this.where(page);
      const list = ranges[name] ??= [];
      const last = list.at(-1);
      if (last !== undefined && last.start + last.length === offset) last.length += PAGE;
      else list.push({ start: offset, length: PAGE });
    }
    for (const [name, list] of Object.entries(ranges)) {
      for (const command of discardCommands(name, list)) this.#source.stream.command(command);
    }
  }

  /** Encodes the package, without any discard. */
  switchOver(
    after: readonly Command[] = [{ kind: "ping", value: 3 }, { kind: "run" }],
  ): void {
    const devices = deviceSection();
    const contents = joinPackage({ before: [{ kind: "listen" }], devices, after });
    this.#source.stream.packaged(contents.length);
    this.#source.stream.packagedData(contents, 0, contents.length);
  }

  /** Encodes the end of a stream that never switched to postcopy. */
  endPrecopy(described = true): void {
    const { stream } = this.#source;
    stream.sectionEnd(SECTION);
    stream.endOfSection();
    stream.sectionFooter(SECTION);
    const devices = deviceSection();
    stream.deviceState(devices, 0, devices.length);
    stream.endOfStream();
    if (!described) return;
    stream.vmDescription(DESCRIPTION.length);
    stream.vmDescriptionData(DESCRIPTION, 0, DESCRIPTION.length);
  }

  /** The block that a page is in, and bytes from its start. */
  where(page: number): { name: string; offset: number } {
    let first = 0;
    for (const [name, count] of Object.entries(this.blocks)) {
      if (page < first + count) return { name, offset: (page - first) * PAGE };
      first += count;
    }
    throw new RangeError(`No such page: ${page}`);
  }

  /** Fails unless a guest's memory holds exactly this. Reads all of it: no page may be missing. */
  assertEqual(blocks: readonly GuestBlock[]): void {
    let at = 0;
    for (const { name, address, length } of blocks) {
      const found = viewMemory(address, length);
      for (let page = 0; page < length; page += PAGE) {
        for (let index = page; index < page + PAGE; index++) {
          if (found[index] === this.bytes[at + index]) continue;
          assert(
            false,
            `Byte ${index} of ${name} is ${found[index]}: not ${this.bytes[at + index]}`,
          );
        }
      }
      at += length;
    }
  }

  #change(page: number, version: number): void {
    const from = page * (PAGE / 4);
    const word = version === 0 ? 0 : (version << 20) + page;
    this.#words.fill(word, from, from + PAGE / 4);
  }
}

/** A SECTION_FULL with four bytes in it, and its footer. */
function deviceSection(): Uint8Array {
  const name = new TextEncoder().encode("device");
  return Uint8Array.of(
    ...[4, 0, 0, 0, DEVICE, name.length, ...name],
    ...[0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4],
    ...[0x7e, 0, 0, 0, DEVICE],
  );
}
