/** A file that QEMU wrote in its mapped-ram format, as an image. */

import type { MappedMemory } from "../../ffi/memory.ts";
import { countOnes } from "../../migration/memory/page_bitmap.ts";
import { RamLayout } from "../../migration/memory/ram_layout.ts";
import {
  bitmapBytes,
  type BlockEntry,
  CAPABILITY,
  withoutCapability,
} from "../../migration/protocol/mod.ts";
import type { MappedRamPages, MappedRun } from "../../pages/mapped_ram_pages.ts";
import { type FileStamp, requireUnchanged } from "../file_stamp.ts";
import type { Image, PageCounts } from "../image.ts";
import { DAMAGED_REMEDY, ImageError } from "../image_error.ts";
import type { StreamContents } from "../stream/stream_contents.ts";
import { StreamImage } from "../stream/stream_image.ts";
import { type ScanOptions, scanStream } from "../stream/stream_scan.ts";
import { MappedRamHandler } from "./mapped_ram_handler.ts";

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

class MappedRamImage extends StreamImage {
  readonly kind = "mapped-ram";
  readonly pages: MappedRamPages;
  readonly counts: readonly PageCounts[];
  readonly index = undefined;

  constructor(path: string, image: MappedMemory, contents: StreamContents) {
    const configuration = withoutCapability(contents.configuration, CAPABILITY.MAPPED_RAM);
    const blocks = contents.blocks.map(({ name, usedLength }) => ({ name, usedLength }));
    super(path, image, { ...contents, configuration, blocks }, new RamLayout(blocks));
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
