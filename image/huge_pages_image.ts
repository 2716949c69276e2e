/** An image for a destination where some of its RAM blocks lie in huge pages. */

import { HUGE_PAGE } from "../ffi/huge_pages.ts";
import { RamLayout } from "../migration/memory/ram_layout.ts";
import { formatBytes } from "../migration/report/units.ts";
import type { BlockEntry } from "../migration/protocol/ram.ts";
import type { Image, PageCounts } from "./image.ts";
import { ImageError } from "./image_error.ts";

/**
 * Says of some blocks of an image that their host pages at the destination are huge. QEMU compares
 * that with its own blocks and refuses another; only a capture of a migration with postcopy says it.
 *
 * @param image an open image, which the result closes
 * @param names RAM blocks of the image
 * @param pageSize bytes of their host pages; default 2 MiB
 * @returns the image as it is but for the pages of these blocks
 * @throws {ImageError} when it has no such block, or one that ends inside of a huge page
 */
export function withHugePages(
  image: Image,
  names: readonly string[],
  pageSize: number = HUGE_PAGE,
): Image {
  return names.length === 0 ? image : new HugePagesImage(image, names, pageSize);
}

class HugePagesImage implements Image {
  readonly path;
  readonly kind;
  readonly streamOffset;
  readonly libvirt;
  readonly machine;
  readonly configuration;
  readonly targetPageSize;
  readonly blocks: readonly BlockEntry[];
  readonly layout: RamLayout;
  readonly ramSection;
  readonly earlySections;
  readonly deviceState;
  readonly deviceSections;
  readonly earlySectionCount;
  readonly commands;
  readonly pages;
  readonly counts;
  readonly index;
  readonly #image: Image;

  constructor(image: Image, names: readonly string[], pageSize: number) {
    this.#image = image;
    this.path = image.path;
    this.kind = image.kind;
    this.streamOffset = image.streamOffset;
    this.libvirt = image.libvirt;
    this.machine = image.machine;
    this.configuration = image.configuration;
    this.targetPageSize = image.targetPageSize;
    this.ramSection = image.ramSection;
    this.earlySections = image.earlySections;
    this.deviceState = image.deviceState;
    this.deviceSections = image.deviceSections;
    this.earlySectionCount = image.earlySectionCount;
    this.commands = image.commands;
    this.counts = image.counts;
    this.index = image.index;
    this.blocks = hugeBlocks(image, names, pageSize);
    // Host pages do not change the numbers of the target pages, so these are found where they were.
    this.layout = new RamLayout(this.blocks, image.targetPageSize);
    this.pages = image.pages;
  }

  get description(): string | undefined {
    return this.#image.description;
  }

  countPages(): Promise<readonly PageCounts[]> {
    return this.#image.countPages();
  }

  close(): void {
    this.#image.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function hugeBlocks(
  { blocks, path }: Image,
  names: readonly string[],
  pageSize: number,
): BlockEntry[] {
  for (const name of names) {
    const block = blocks.find((block) => block.name === name);
    if (block === undefined) {
      const known = blocks.map((block) => block.name).join(", ");
      throw new ImageError("unsupported", path, `No RAM block named: ${name}`, `it has ${known}`);
    }
    if (block.usedLength % pageSize !== 0) {
      throw new ImageError(
        "unsupported",
        path,
        `RAM block ${name} cannot lie in pages of ${
          formatBytes(pageSize)
        }, its length is: ${block.usedLength}`,
        "name only the blocks that are on huge pages at the destination",
      );
    }
  }
  return blocks.map((block) => names.includes(block.name) ? { ...block, pageSize } : block);
}
