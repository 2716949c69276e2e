/** A stream that QEMU wrote into a file, as an image. */

import type { MappedMemory } from "../../ffi/memory.ts";
import type { TablePages } from "../../pages/table_pages.ts";
import type { FileStamp } from "../file_stamp.ts";
import type { Image, IndexReport, PageCounts } from "../image.ts";
import { StreamImage } from "../stream/stream_image.ts";
import type { ScanOptions } from "../stream/stream_scan.ts";
import { type CaptureIndex, openCaptureIndex } from "./capture_index.ts";

/**
 * Opens a captured stream.
 *
 * @param path the file's name
 * @param image all of it; this function or the image it returns closes it
 * @param stamp of the file
 * @throws {ImageError} when it cannot be served
 */
export async function openCapture(
  path: string,
  image: MappedMemory,
  stamp: FileStamp,
  options: ScanOptions,
): Promise<Image> {
  return new CapturedImage(path, image, await openCaptureIndex(path, image, stamp, options));
}

class CapturedImage extends StreamImage {
  readonly kind = "qemu-stream";
  readonly pages: TablePages;
  readonly counts: readonly PageCounts[];
  readonly index: IndexReport;
  readonly #indexMemory: MappedMemory;

  constructor(path: string, image: MappedMemory, index: CaptureIndex) {
    const { contents, layout, memory } = index;
    super(path, image, contents, layout);
    this.pages = {
      kind: "table",
      imageAddress: image.address,
      reconstructed: index.reconstructed,
      tableAddress: memory.address + index.tableOffset,
      pageLimit: layout.pageLimit,
    };
    this.counts = contents.counts;
    this.index = index.report;
    this.#indexMemory = memory;
  }

  override close(): void {
    super.close();
    this.#indexMemory.close();
  }
}
