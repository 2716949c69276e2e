/** The block list of the ram section's start: names, lengths and what capabilities add to them. */

import { bitmapBytes } from "./bitmap_codec.ts";
import { readU32, readU64 } from "./byte_order.ts";
import { MAPPED_REGION, MAX_BLOCKS, TARGET_PAGE_BITS } from "./constants.ts";
import { decodeName } from "./names.ts";
import { hex, ProtocolError } from "./protocol_error.ts";
import type { BlockEntry, MappedRegion, RamHandler } from "./ram.ts";
import type { RecordFormat } from "./record_format.ts";

const MAX_PAGE_SIZE = 2 ** 40;

/**
 * Decodes the entries behind a MEM_SIZE record and, in a mapped-ram file, the regions between them
 * (docs/protocol.md sections 1.3 and 6).
 *
 * Whether an entry holds the page size of its block depends on capabilities that the stream does not
 * name, but the bytes tell: what follows otherwise is a name, whose count is not 0 where the eight
 * bytes of a page size begin with 0, or a record, whose flags are not 0 where a page size's low bits
 * are.
 */
export class BlockListDecoder {
  readonly #handler: RamHandler;
  readonly #format: RecordFormat;
  readonly #names = new Set<string>();
  #bytesLeft = 0;
  #regionLeft = 0;

  constructor(handler: RamHandler, format: RecordFormat) {
    this.#handler = handler;
    this.#format = format;
  }

  /** Entries or parts of a region are still to come. */
  get active(): boolean {
    return this.#bytesLeft > 0 || this.#regionLeft > 0;
  }

  /** A MEM_SIZE record announced blocks of `total` bytes. */
  begin(total: number): void {
    this.#bytesLeft = total;
    this.#names.clear();
    this.#handler.blockList(total);
  }

  /**
   * Decodes what it can of `bytes[start..end)` and returns where it stopped.
   *
   * @param origin Stream offset of `bytes[0]`.
   */
  decode(bytes: Uint8Array, start: number, end: number, origin: number): number {
    let at = start;
    while (this.active) {
      const next = this.#regionLeft > 0
        ? this.#region(bytes, at, end)
        : this.#entry(bytes, at, end, origin);
      if (next === at) break;
      at = next;
    }
    return at;
  }

  #region(bytes: Uint8Array, at: number, end: number): number {
    const length = Math.min(this.#regionLeft, end - at);
    if (length > 0) {
      this.#regionLeft -= length;
      this.#handler.mappedRegion(bytes, at, length);
    }
    return at + length;
  }

  /** Returns `start` when the entry is not there in full. */
  #entry(bytes: Uint8Array, start: number, end: number, origin: number): number {
    if (start >= end) return start;
    const nameLength = bytes[start]!;
    const nameAt = start + 1;
    let at = nameAt + nameLength;
    if (end - at < 8) return start;
    const name = decodeName(bytes.slice(nameAt, at), origin + start, "a RAM block");
    const usedLength = readU64(bytes, at);
    if (usedLength === 0 || usedLength > this.#bytesLeft) {
      throw new ProtocolError(
        "bad-block-list",
        origin + at,
        `a used length of 1 to ${this.#bytesLeft} bytes for RAM block ${name}`,
        `${usedLength}`,
      );
    }
    at += 8;

    const last = usedLength === this.#bytesLeft;
    let pageSize: number | undefined;
    if (!this.#format.ignoreShared && !this.#format.mappedRam) {
      // The list is never the last thing in a section, so waiting for these bytes cannot block a live stream.
      if (end - at < 1) return start;
      if (last || bytes[at] === 0) {
        if (end - at < 8) return start;
        const flags = readU32(bytes, at + 4) & (this.#format.targetPageSize - 1);
        if (!last || flags === 0) {
          pageSize = this.#pageSize(readU64(bytes, at), name, origin + at);
          at += 8;
        }
      }
    }
    let guestPhysicalAddress: number | undefined;
    if (this.#format.ignoreShared) {
      if (end - at < 8) return start;
      guestPhysicalAddress = readU64(bytes, at);
      if (!Number.isSafeInteger(guestPhysicalAddress)) {
        throw new ProtocolError(
          "bad-block-list",
          origin + at,
          "a guest physical address below 2^53",
          hex(guestPhysicalAddress),
        );
      }
      at += 8;
    }
    let mapped: MappedRegion | undefined;
    if (this.#format.mappedRam) {
      if (end - at < MAPPED_REGION.HEADER_BYTES) return start;
      mapped = this.#mapped(bytes, at, usedLength, origin);
      at += MAPPED_REGION.HEADER_BYTES;
      this.#regionLeft = mapped.pagesOffset + usedLength - (origin + at);
    }

    if (this.#names.has(name) || this.#names.size === MAX_BLOCKS) {
      throw new ProtocolError(
        "bad-block-list",
        origin + start,
        `at most ${MAX_BLOCKS} RAM blocks of different names`,
        `block number ${this.#names.size + 1}: ${name}`,
      );
    }
    this.#names.add(name);
    this.#bytesLeft -= usedLength;
    const entry: BlockEntry = {
      name,
      usedLength,
      ...(pageSize === undefined ? {} : { pageSize }),
      ...(guestPhysicalAddress === undefined ? {} : { guestPhysicalAddress }),
      ...(mapped === undefined ? {} : { mapped }),
    };
    this.#handler.blockEntry(entry);
    return at;
  }

  #pageSize(size: number, name: string, offset: number): number {
    // Doubles below 2^53 that are powers of two have a whole logarithm, exactly.
    const valid = size >= 2 ** TARGET_PAGE_BITS.MIN && size <= MAX_PAGE_SIZE &&
      Number.isInteger(Math.log2(size));
    if (!valid) {
      throw new ProtocolError(
        "bad-block-list",
        offset,
        `the page size of RAM block ${name}, a power of two`,
        hex(size),
      );
    }
    return size;
  }

  #mapped(bytes: Uint8Array, at: number, usedLength: number, origin: number): MappedRegion {
    const version = readU32(bytes, at);
    const pageSize = readU64(bytes, at + 4);
    const bitmapOffset = readU64(bytes, at + 12);
    const pagesOffset = readU64(bytes, at + 20);
    if (version !== MAPPED_REGION.VERSION || pageSize !== this.#format.targetPageSize) {
      throw new ProtocolError(
        "bad-block-list",
        origin + at,
        `a mapped-ram header of version ${MAPPED_REGION.VERSION} with pages of ${this.#format.targetPageSize} bytes`,
        `version ${version} with pages of ${pageSize} bytes`,
      );
    }
    const bitmapLength = bitmapBytes(usedLength / pageSize);
    const inOrder = bitmapOffset >= origin + at + MAPPED_REGION.HEADER_BYTES &&
      pagesOffset >= bitmapOffset + bitmapLength &&
      Number.isSafeInteger(pagesOffset + usedLength);
    if (!inOrder) {
      throw new ProtocolError(
        "bad-block-list",
        origin + at,
        `a bitmap of ${bitmapLength} bytes behind the mapped-ram header and pages behind the bitmap`,
        `bitmap at ${bitmapOffset}, pages at ${pagesOffset}`,
      );
    }
    return { version, pageSize, bitmapOffset, pagesOffset };
  }
}
