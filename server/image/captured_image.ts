/** A stream that QEMU wrote into a file, as an image. */

import type { MappedMemory } from "../../ffi/memory.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import type { BlockEntry, Configuration } from "../../migration/protocol/mod.ts";
import { type CaptureIndex, openCaptureIndex } from "./capture_index.ts";
import type { FileRange } from "./capture_contents.ts";
import type { ScanOptions } from "./capture_scan.ts";
import type { FileStamp } from "./file_stamp.ts";
import type {
  CommandCount,
  DeviceSection,
  Image,
  IndexReport,
  PageCounts,
  RamSection,
} from "./image.ts";
import { readDescription } from "./stream_description.ts";
import type { TablePages } from "./table_pages.ts";

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

class CapturedImage implements Image {
  readonly kind = "qemu-stream";
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
  readonly pages: TablePages;
  readonly counts: readonly PageCounts[];
  readonly index: IndexReport;
  readonly #image: MappedMemory;
  readonly #deviceState: FileRange;
  readonly #index: MappedMemory;

  constructor(path: string, image: MappedMemory, index: CaptureIndex) {
    const { contents, layout, memory } = index;
    const copy = ({ offset, length }: FileRange) => image.bytes(offset, length).slice();
    this.path = path;
    this.machine = contents.configuration.machine;
    this.configuration = contents.configuration;
    this.targetPageSize = layout.targetPageSize;
    this.blocks = contents.blocks;
    this.layout = layout;
    this.ramSection = contents.ramSection;
    this.earlySections = copy(contents.earlySections);
    this.deviceState = copy(contents.deviceState);
    this.deviceSections = contents.deviceSections;
    this.earlySectionCount = contents.earlySectionCount;
    this.commands = contents.commands;
    this.pages = {
      kind: "table",
      imageAddress: image.address,
      reconstructed: index.reconstructed,
      tableAddress: memory.address + index.tableOffset,
      pageLimit: layout.pageLimit,
    };
    this.counts = contents.counts;
    this.index = index.report;
    this.#image = image;
    this.#deviceState = contents.deviceState;
    this.#index = memory;
  }

  get description(): string | undefined {
    return readDescription(this.#image, this.#deviceState);
  }

  countPages(): Promise<readonly PageCounts[]> {
    return Promise.resolve(this.counts);
  }

  close(): void {
    this.#image.close();
    this.#index.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
