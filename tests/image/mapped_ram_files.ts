/** Mapped-ram files made here, as QEMU 9.0 and later lay them out (docs/protocol.md section 6). */

import {
  type Configuration,
  type MappedRegion,
  StreamEncoder,
} from "../../migration/protocol/mod.ts";
import { concat, deviceSection, PAGE, RAM } from "./captures.ts";

/** Bytes of an entry behind its name: used length, version, page size, two offsets. */
const ENTRY_BYTES = 8 + 4 + 8 + 8 + 8;

/** A RAM block of a made file. */
export interface MappedBlock {
  readonly name: string;
  /** How many pages it has. */
  readonly pages: number;
  /** Pages whose bits are set. */
  readonly stored?: ReadonlyMap<number, Uint8Array>;
  /** Bytes that lie where a page would, whose bit is clear. */
  readonly stale?: ReadonlyMap<number, Uint8Array>;
  /** What the header says instead of what is right. */
  readonly header?: Partial<MappedRegion>;
}

/** How a made file begins and ends. */
export interface MappedShape {
  readonly configuration?: Configuration;
  readonly blocks: readonly MappedBlock[];
  /** Device sections before the memory. */
  readonly early?: Uint8Array;
  /** Device sections after it. */
  readonly devices?: Uint8Array;
  /** Elements between the block list and the end of the memory section. */
  readonly body?: (encoder: StreamEncoder) => void;
  /** Bytes to a multiple of which pages begin; QEMU: 1 MiB. */
  readonly alignment?: number;
  /** What lies in the file before the stream, whose offsets count from the file's start. */
  readonly before?: Uint8Array;
}

/** A made file. */
export interface MappedFile {
  readonly bytes: Uint8Array;
  /** Where the right offsets of each block are. */
  readonly regions: readonly (MappedRegion & { readonly headerOffset: number })[];
  /** Where the list of blocks ends. */
  readonly listEnd: number;
}

/** Makes a file that holds all of its blocks. */
export function makeMappedRam(shape: MappedShape): MappedFile {
  const encoder = new StreamEncoder();
  const before = shape.before ?? new Uint8Array(0);
  const pieces = [before];
  let length = before.length;
  const flush = (): number => {
    const piece = encoder.take();
    pieces.push(piece);
    return length += piece.length;
  };
  encoder.header();
  encoder.configuration(
    shape.configuration ?? { machine: "pc-q35-11.1", capabilities: ["mapped-ram"] },
  );
  if (shape.early !== undefined) encoder.deviceState(shape.early, 0, shape.early.length);
  encoder.sectionStart(RAM, "ram", 0, 4);
  encoder.blockList(shape.blocks.reduce((sum, { pages }) => sum + pages * PAGE, 0));
  const regions = shape.blocks.map(({ name, pages, stored, stale, header }) => {
    const headerOffset = flush() + 1 + name.length + 8;
    const bitmapOffset = headerOffset - 8 + ENTRY_BYTES;
    const alignment = shape.alignment ?? PAGE;
    const bitmap = new Uint8Array(Math.ceil(pages / 64) * 8);
    const pagesOffset = Math.ceil((bitmapOffset + bitmap.length) / alignment) * alignment;
    const right = { version: 1, pageSize: PAGE, bitmapOffset, pagesOffset };
    encoder.blockEntry({ name, usedLength: pages * PAGE, mapped: { ...right, ...header } });
    for (const page of stored?.keys() ?? []) bitmap[page >> 3]! |= 1 << (page & 7);
    const content = new Uint8Array(pages * PAGE);
    for (const [page, bytes] of [...stored ?? [], ...stale ?? []]) content.set(bytes, page * PAGE);
    const gap = new Uint8Array(pagesOffset - bitmapOffset - bitmap.length);
    const region = concat(bitmap, gap, content);
    encoder.mappedRegion(region, 0, region.length);
    return { ...right, headerOffset };
  });
  const listEnd = flush();
  encoder.endOfSection();
  encoder.sectionFooter(RAM);
  shape.body?.(encoder);
  encoder.sectionEnd(RAM);
  encoder.endOfSection();
  encoder.sectionFooter(RAM);
  const devices = shape.devices ?? deviceSection(7, "cpu", 3, new Uint8Array(11).fill(0x7e));
  encoder.deviceState(devices, 0, devices.length);
  encoder.endOfStream();
  flush();
  return { bytes: concat(...pieces), regions, listEnd };
}
