/**
 * Where everything lies in a mapped-ram file (docs/protocol.md section 6; QEMU
 * docs/devel/migration/mapped-ram.rst).
 */

import { RamLayout } from "../../migration/memory/ram_layout.ts";
import { bitmapBytes } from "../../migration/protocol/bitmap_codec.ts";
import { CAPABILITY, MAPPED_REGION, RAM_SECTION } from "../../migration/protocol/constants.ts";
import { StreamEncoder } from "../../migration/protocol/stream_encoder.ts";
import type { StreamMachine } from "../../migration/protocol/stream_machine.ts";

/** A block's pages begin at a multiple of it, so that they can be read and written without a cache. */
const PAGES_ALIGNMENT = 1 << 20;

/** Bytes of magic and version, at the start of the file. */
export const MAGIC_BYTES = 8;

/** Some bytes of the file. */
export interface FilePiece {
  /** Where they lie, bytes from the start of the file. */
  readonly offset: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Where a block lies in the file. */
export interface BlockRegion {
  /** Bytes from the start of the file to the block's bitmap. */
  readonly bitmapOffset: number;
  /** Bytes from the start of the file to its first page. */
  readonly pagesOffset: number;
}

/** The plan of a mapped-ram file: known before the first page of the machine. */
export class MappedRamLayout {
  /** The blocks and their pages' numbers. */
  readonly ram: RamLayout;
  /** Where each block lies. */
  readonly regions: readonly BlockRegion[];
  /** All but bitmaps, pages and what follows them; the first piece begins with magic and version. */
  readonly pieces: readonly FilePiece[];
  /** Where device sections begin: bytes from the start of the file. */
  readonly tailOffset: number;

  /**
   * @param machine whose memory goes into the file
   * @throws {RamLayoutError} when its blocks cannot be
   */
  constructor(machine: StreamMachine) {
    const { configuration, ramSection, targetPageSize, blocks } = machine;
    // How large the source's host pages are is no property of an image.
    const sizes = blocks.map(({ name, usedLength }) => ({ name, usedLength }));
    this.ram = new RamLayout(sizes, targetPageSize);
    const encoder = new StreamEncoder();
    const regions: BlockRegion[] = [];
    const pieces: FilePiece[] = [];
    encoder.header();
    encoder.configuration({ ...configuration, capabilities: [CAPABILITY.MAPPED_RAM] });
    encoder.sectionStart(ramSection.id, RAM_SECTION.NAME, ramSection.instance, ramSection.version);
    encoder.blockList(this.ram.pageCount * targetPageSize);
    let at = 0;
    for (const { name, usedLength, pageCount } of this.ram.blocks) {
      const nameBytes = new TextEncoder().encode(name).length;
      const bitmapOffset = at + encoder.length + 1 + nameBytes + 8 + MAPPED_REGION.HEADER_BYTES;
      const bitmapEnd = bitmapOffset + bitmapBytes(pageCount);
      const pagesOffset = Math.ceil(bitmapEnd / PAGES_ALIGNMENT) * PAGES_ALIGNMENT;
      const mapped = {
        version: MAPPED_REGION.VERSION,
        pageSize: targetPageSize,
        bitmapOffset,
        pagesOffset,
      };
      encoder.blockEntry({ name, usedLength, mapped });
      pieces.push({ offset: at, bytes: encoder.take() });
      regions.push({ bitmapOffset, pagesOffset });
      at = pagesOffset + usedLength;
    }
    encoder.endOfSection();
    encoder.sectionFooter(ramSection.id);
    encoder.sectionEnd(ramSection.id);
    encoder.endOfSection();
    encoder.sectionFooter(ramSection.id);
    pieces.push({ offset: at, bytes: encoder.take() });
    this.regions = regions;
    this.pieces = pieces;
    this.tailOffset = at + pieces.at(-1)!.bytes.length;
  }
}
