/** A file that QEMU wrote in its mapped-ram format, as an image. */

import type { MappedMemory } from "../../ffi/memory.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { type RamBlock, RamLayout } from "../../migration/memory/ram_layout.ts";
import { bitmapBytes, CAPABILITY, withoutCapability } from "../../migration/protocol/mod.ts";
import type { MappedRamPages, MappedRun } from "../../pages/mapped_ram_pages.ts";
import { storedFile } from "../../pages/stored_file.ts";
import { type FileStamp, requireUnchanged } from "../file_stamp.ts";
import type { Image, PageCounts } from "../image.ts";
import { DAMAGED_REMEDY, ImageError } from "../image_error.ts";
import type { StreamContents } from "../stream/stream_contents.ts";
import { StreamImage } from "../stream/stream_image.ts";
import type { StreamPlace } from "../stream/stream_place.ts";
import { type ScanOptions, scanStream } from "../stream/stream_scan.ts";
import { MappedRamHandler } from "./mapped_ram_handler.ts";

/**
 * Opens a mapped-ram file. Of the blocks only the bitmaps are read, so that any size opens in
 * milliseconds.
 *
 * @param path the file's name
 * @param image all of it; this function or the image it returns closes it
 * @param stamp of the file
 * @param place of the stream in it; the offsets that the stream says are the file's all the same
 * @throws {ImageError} when it cannot be served
 */
export async function openMappedRam(
  path: string,
  image: MappedMemory,
  stamp: FileStamp,
  place: StreamPlace,
  options: ScanOptions,
): Promise<Image> {
  const openHandler = () => new MappedRamHandler(path, image.length);
  const contents = await scanStream(path, image, place.offset, openHandler, options);
  const opened = new MappedRamImage(path, image, place, contents);
  await requireUnchanged(path, stamp);
  return opened;
}

class MappedRamImage extends StreamImage {
  readonly kind = "mapped-ram";
  readonly pages: MappedRamPages;
  readonly counts: readonly PageCounts[];
  readonly index = undefined;

  constructor(path: string, image: MappedMemory, place: StreamPlace, contents: StreamContents) {
    const configuration = withoutCapability(contents.configuration, CAPABILITY.MAPPED_RAM);
    const blocks = contents.blocks.map(({ name, usedLength }) => ({ name, usedLength }));
    super(path, image, place, { ...contents, configuration, blocks }, new RamLayout(blocks));
    const present = new PageBitmap(this.layout.pageLimit);
    const runs: MappedRun[] = [];
    this.counts = this.layout.blocks.map((block, i) => {
      const { bitmapOffset, pagesOffset } = contents.blocks[i]!.mapped!;
      runs.push({ firstPage: block.firstPage, pagesOffset });
      return takeBitmap(path, image, block, bitmapOffset, present);
    });
    this.pages = {
      kind: "mapped-ram",
      file: storedFile(image),
      imageAddress: image.address,
      imageLength: image.length,
      present: present.buffer,
      runs,
      pageSize: this.targetPageSize,
    };
  }
}

/** Copies a block's bitmap, and counts its pages. */
function takeBitmap(
  path: string,
  image: MappedMemory,
  block: RamBlock,
  bitmapOffset: number,
  present: PageBitmap,
): PageCounts {
  const { firstPage, pageCount } = block;
  const bitmap = image.bytes(bitmapOffset, bitmapBytes(pageCount));
  requireBitsInside(path, bitmap, block, bitmapOffset);
  // Words of 64 bits there, of 32 here: little-endian both, and a block's pages start at a word.
  const bytes = new Uint8Array(present.buffer, firstPage / 8, Math.ceil(pageCount / 8));
  bytes.set(bitmap.subarray(0, bytes.length));
  const data = present.count(firstPage, pageCount);
  return { data, zero: pageCount - data, missing: 0 };
}

/** Bits behind a block's last page would be counted as pages, and say that the bitmap is damaged. */
function requireBitsInside(
  path: string,
  bitmap: Uint8Array,
  { name, pageCount }: RamBlock,
  bitmapOffset: number,
): void {
  for (let page = pageCount; page < bitmap.length * 8; page++) {
    if ((bitmap[page >>> 3]! & (1 << (page & 7))) === 0) continue;
    const problem = `Bitmap with page ${page} of RAM block ${name}, which has ${pageCount} pages,`;
    const offset = bitmapOffset + (page >>> 3);
    throw new ImageError("malformed", path, problem, DAMAGED_REMEDY, { offset });
  }
}
