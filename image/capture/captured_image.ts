/** A stream that QEMU wrote into a file, as an image. */

import type { MappedMemory } from "../../ffi/memory.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import { storedFile } from "../../pages/stored_file.ts";
import { TableEntry, type TablePages } from "../../pages/table_pages.ts";
import type { FileStamp } from "../file_stamp.ts";
import type { Image, IndexReport, PageCounts } from "../image.ts";
import { StreamImage } from "../stream/stream_image.ts";
import type { StreamPlace } from "../stream/stream_place.ts";
import type { ScanOptions } from "../stream/stream_scan.ts";
import { type CaptureIndex, openCaptureIndex } from "./capture_index.ts";

/**
 * Opens a captured stream.
 *
 * @param path the file's name
 * @param image all of it; this function or the image it returns closes it
 * @param stamp of the file
 * @param place of the stream in it
 * @throws {ImageError} when it cannot be served
 */
export async function openCapture(
  path: string,
  image: MappedMemory,
  stamp: FileStamp,
  place: StreamPlace,
  options: ScanOptions,
): Promise<Image> {
  const index = await openCaptureIndex(path, image, stamp, place, options);
  return new CapturedImage(path, image, place, index);
}

class CapturedImage extends StreamImage {
  readonly kind = "qemu-stream";
  readonly pages: TablePages;
  readonly counts: readonly PageCounts[];
  readonly index: IndexReport;
  readonly #indexMemory: MappedMemory;
  readonly #table: MappedMemory;

  constructor(path: string, image: MappedMemory, place: StreamPlace, index: CaptureIndex) {
    const { contents, layout, memory, table } = index;
    super(path, image, place, contents, layout);
    this.pages = {
      kind: "table",
      file: storedFile(image),
      imageAddress: image.address,
      imageLength: image.length,
      reconstructed: index.reconstructed,
      tableAddress: table.address,
      pageLimit: layout.pageLimit,
      present: presentPages(table, layout, contents.counts),
    };
    this.counts = contents.counts;
    this.index = index.report;
    this.#indexMemory = memory;
    this.#table = table;
  }

  override close(): void {
    super.close();
    this.#indexMemory.close();
    this.#table.close();
  }
}

/** The bitmap of pages that the stream mentions; undefined when that is all of them. 2 ns a page. */
function presentPages(
  table: MappedMemory,
  layout: RamLayout,
  counts: readonly PageCounts[],
): SharedArrayBuffer | undefined {
  if (counts.every(({ missing }) => missing === 0)) return undefined;
  const words = new Uint32Array(table.bytes().buffer);
  const present = new PageBitmap(layout.pageLimit);
  const bits = new Int32Array(present.buffer);
  for (let page = 0; page < layout.pageLimit; page++) {
    const missing = words[page * 2] === TableEntry.MISSING && words[page * 2 + 1] === 0;
    if (!missing) bits[page >>> 5]! |= 1 << (page & 31);
  }
  return present.buffer;
}
