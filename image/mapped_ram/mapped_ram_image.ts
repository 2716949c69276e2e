/** A file that QEMU wrote in its mapped-ram format, as an image. */

import type { MappedMemory } from "../../ffi/memory.ts";
import { countOnes } from "../../migration/memory/page_bitmap.ts";
import { RamLayout } from "../../migration/memory/ram_layout.ts";
import {
  type BlockEntry,
  CAPABILITY,
  type Configuration,
  withoutCapability,
} from "../../migration/protocol/mod.ts";
import type { RamSection } from "../../migration/protocol/stream_machine.ts";
import type { FileRange, StreamContents } from "../stream/stream_contents.ts";
import { type ScanOptions, scanStream } from "../stream/stream_scan.ts";
import { type FileStamp, requireUnchanged } from "../file_stamp.ts";
import type { CommandCount, DeviceSection, Image, PageCounts } from "../image.ts";
import { DAMAGED_REMEDY, ImageError } from "../image_error.ts";
import { MappedRamHandler } from "./mapped_ram_handler.ts";
import { bitmapBytes, type MappedRamPages, type MappedRun } from "../../pages/mapped_ram_pages.ts";
import { readVmDescription } from "../stream/stream_description.ts";

/** Bytes of a bitmap counted at a time: they are copied to where words are aligned. */
const COUNTED_AT_ONCE = 64 * 1024;

/**
 * Opens a mapped-ram file. Of the blocks only the bitmaps are read, so that any size opens in
 * milliseconds.
 *
 * @param path the file's name
 * @param image all of it; this function or the image it returns closes it
 * @param stamp of the file
 * @throws {ImageError} when it cannot be served
 */
export async function openMappedRam(
  path: string,
  image: MappedMemory,
  stamp: FileStamp,
  options: ScanOptions,
): Promise<Image> {
  const openHandler = () => new MappedRamHandler(path, image.length);
  const contents = await scanStream(path, image, openHandler, options);
  const opened = new MappedRamImage(path, image, contents);
  await requireUnchanged(path, stamp);
  return opened;
}

class MappedRamImage implements Image {
  readonly kind = "mapped-ram";
  readonly path: string;
  readonly machine: string;
  readonly configuration: Configuration;
  readonly targetPageSize: number;
  readonly blocks: readonly BlockEntry[];
  readonly layout: RamLayout;
  readonly ramSection: RamSection;
  readonly earlySections: Uint8Array<ArrayBuffer>;
  readonly deviceState: Uint8Array<ArrayBuffer>;
  readonly deviceSections: readonly DeviceSection[];
  readonly earlySectionCount: number;
  readonly commands: readonly CommandCount[];
  readonly pages: MappedRamPages;
  readonly counts: readonly PageCounts[];
  readonly index = undefined;
  readonly #image: MappedMemory;
  readonly #deviceState: FileRange;

  constructor(path: string, image: MappedMemory, contents: StreamContents) {
    const copy = ({ offset, length }: FileRange) => image.bytes(offset, length).slice();
    this.path = path;
    this.machine = contents.configuration.machine;
    this.configuration = withoutCapability(contents.configuration, CAPABILITY.MAPPED_RAM);
    this.blocks = contents.blocks.map(({ name, usedLength }) => ({ name, usedLength }));
    this.layout = new RamLayout(this.blocks);
    this.targetPageSize = this.layout.targetPageSize;
    this.ramSection = contents.ramSection;
    this.earlySections = copy(contents.earlySections);
    this.deviceState = copy(contents.deviceState);
    this.deviceSections = contents.deviceSections;
    this.earlySectionCount = contents.earlySectionCount;
    this.commands = contents.commands;
    const runs = this.layout.blocks.map(({ firstPage, pageCount }, i) => {
      const { bitmapOffset, pagesOffset } = contents.blocks[i]!.mapped!;
      return { firstPage, pageCount, bitmapOffset, pagesOffset };
    });
    this.pages = {
      kind: "mapped-ram",
      imageAddress: image.address,
      runs,
      pageSize: this.targetPageSize,
    };
    for (const [i, run] of runs.entries()) requireBitsInside(path, image, this.blocks[i]!, run);
    this.counts = runs.map((run) => countRun(image, run));
    this.#image = image;
    this.#deviceState = contents.deviceState;
  }

  get description(): string | undefined {
    return readVmDescription(this.#image, this.#deviceState);
  }

  countPages(): Promise<readonly PageCounts[]> {
    return Promise.resolve(this.counts);
  }

  close(): void {
    this.#image.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Bits behind a block's last page would be counted as pages, and say that the bitmap is damaged. */
function requireBitsInside(
  path: string,
  image: MappedMemory,
  { name }: BlockEntry,
  { pageCount, bitmapOffset }: MappedRun,
): void {
  const bitmap = image.bytes(bitmapOffset, bitmapBytes(pageCount));
  for (let page = pageCount; page < bitmap.length * 8; page++) {
    if ((bitmap[page >>> 3]! & (1 << (page & 7))) === 0) continue;
    const problem = `Bitmap with page ${page} of RAM block ${name}, which has ${pageCount} pages,`;
    const offset = bitmapOffset + (page >>> 3);
    throw new ImageError("malformed", path, problem, DAMAGED_REMEDY, { offset });
  }
}

function countRun(image: MappedMemory, { pageCount, bitmapOffset }: MappedRun): PageCounts {
  const length = bitmapBytes(pageCount);
  let data = 0;
  for (let at = 0; at < length; at += COUNTED_AT_ONCE) {
    const piece = image.bytes(bitmapOffset + at, Math.min(COUNTED_AT_ONCE, length - at)).slice();
    const words = new Int32Array(piece.buffer);
    for (let i = 0; i < words.length; i++) data += countOnes(words[i]!);
  }
  return { data, zero: pageCount - data, missing: 0 };
}
