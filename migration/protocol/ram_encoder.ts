/** RAM records as bytes. */

import { ByteWriter } from "./byte_writer.ts";
import { RECORD, XBZRLE_ENCODING } from "./constants.ts";
import type { BlockEntry, RamHandler } from "./ram.ts";
import { type RecordFormat, recordFormat } from "./record_format.ts";

/**
 * Encodes RAM records: the counterpart of {@linkcode RamDecoder}, with the same methods.
 *
 * Bytes gather until `take`. Arguments the format has no room for are a `RangeError`; whether the peer
 * can use the records is not checked.
 */
export class RamEncoder implements RamHandler {
  /** What was encoded and not taken yet. */
  protected readonly writer: ByteWriter = new ByteWriter();
  #pageSize: number;
  #name: string | undefined;
  #blockKnown = false;

  /** @param targetPageSize Bytes; default 4096. */
  constructor(targetPageSize?: number) {
    this.#pageSize = recordFormat(targetPageSize).targetPageSize;
  }

  /** Bytes encoded and not taken yet. */
  get length(): number {
    return this.writer.length;
  }

  /** A copy of what was encoded since the last call. */
  take(): Uint8Array<ArrayBuffer> {
    return this.writer.take();
  }

  /** The pages that follow are of this block; the first of them names it. */
  block(name: string): void {
    this.#name = name;
  }

  page(offset: number, bytes: Uint8Array, at: number): void {
    this.#head(offset, RECORD.PAGE);
    this.writer.bytes(bytes, at, this.#pageSize);
  }

  zeroPage(offset: number, fill: number): void {
    this.#head(offset, RECORD.ZERO);
    this.writer.u8(fill);
  }

  xbzrlePage(offset: number, bytes: Uint8Array, at: number, length: number): void {
    if (length > this.#pageSize) {
      throw new RangeError(`Cannot encode an XBZRLE page longer than a page: ${length} bytes`);
    }
    this.#head(offset, RECORD.XBZRLE);
    this.writer.u8(XBZRLE_ENCODING);
    this.writer.u16(length);
    this.writer.bytes(bytes, at, length);
  }

  compressedPage(offset: number, bytes: Uint8Array, at: number, length: number): void {
    this.#head(offset, RECORD.COMPRESS_PAGE);
    this.writer.u32(length);
    this.writer.bytes(bytes, at, length);
  }

  blockList(total: number): void {
    this.#word(total, RECORD.MEM_SIZE);
  }

  blockEntry(entry: BlockEntry): void {
    const { name, usedLength, pageSize, guestPhysicalAddress, mapped } = entry;
    if (pageSize !== undefined && (guestPhysicalAddress !== undefined || mapped !== undefined)) {
      throw new RangeError(
        `Cannot encode a page size together with x-ignore-shared or mapped-ram: ${name}`,
      );
    }
    this.writer.name(name);
    this.writer.u64(usedLength);
    if (pageSize !== undefined) this.writer.u64(pageSize);
    if (guestPhysicalAddress !== undefined) this.writer.u64(guestPhysicalAddress);
    if (mapped !== undefined) {
      this.writer.u32(mapped.version);
      this.writer.u64(mapped.pageSize);
      this.writer.u64(mapped.bitmapOffset);
      this.writer.u64(mapped.pagesOffset);
    }
  }

  mappedRegion(bytes: Uint8Array, at: number, length: number): void {
    this.writer.bytes(bytes, at, length);
  }

  multifdFlush(): void {
    this.#word(0, RECORD.MULTIFD_FLUSH);
  }

  endOfSection(): void {
    this.#word(0, RECORD.END_OF_SECTION);
  }

  /** Target pages have another size from now on, as the configuration says. */
  protected setFormat(format: RecordFormat): void {
    this.#pageSize = format.targetPageSize;
  }

  #head(offset: number, kind: number): void {
    const name = this.#name;
    if (name === undefined && !this.#blockKnown) {
      throw new RangeError(`Cannot encode the channel's first page without block(): ${offset}`);
    }
    this.#word(offset, name === undefined ? kind | RECORD.CONTINUE : kind);
    if (name !== undefined) this.writer.name(name);
    this.#name = undefined;
    this.#blockKnown = true;
  }

  #word(offset: number, flags: number): void {
    if (offset % this.#pageSize !== 0) {
      throw new RangeError(
        `Cannot encode other than a multiple of the target page size of ${this.#pageSize} bytes: ${offset}`,
      );
    }
    this.writer.u64(offset + flags);
  }
}
