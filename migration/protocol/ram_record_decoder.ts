/** RAM records, decoded, on whichever channel they come. */

import { BlockListDecoder } from "./block_list_decoder.ts";
import { readU16, readU32, TWO_TO_32 } from "./byte_order.ts";
import { maxCompressedBytes } from "./compressed_page.ts";
import { RECORD, XBZRLE_ENCODING } from "./constants.ts";
import { NameTable } from "./names.ts";
import { hex, ProtocolError } from "./protocol_error.ts";
import type { RamHandler } from "./ram.ts";
import type { RecordFormat } from "./record_format.ts";

const PAGE_CONTINUED = RECORD.PAGE | RECORD.CONTINUE;

/**
 * Decodes RAM records one after the other (docs/protocol.md section 1.3): what {@linkcode RamDecoder}
 * and the ram sections of {@linkcode StreamDecoder} have in common. Each channel has one of its own,
 * because "same block as before" is meant per channel and outlives a section.
 */
export class RamRecordDecoder {
  readonly #handler: RamHandler;
  readonly #pageSize: number;
  readonly #preempt: boolean;
  readonly #blocks: BlockListDecoder;
  readonly #names = new NameTable();
  #blockKnown = false;
  #listAllowed = false;
  #sectionEnded = false;

  /** @param preempt Only PAGE, ZERO and the end of the section are allowed: all that postcopy sends. */
  constructor(handler: RamHandler, format: RecordFormat, preempt: boolean) {
    this.#handler = handler;
    this.#pageSize = format.targetPageSize;
    this.#preempt = preempt;
    this.#blocks = new BlockListDecoder(handler, format);
  }

  /** The last decode stopped behind an end-of-section record. */
  get sectionEnded(): boolean {
    return this.#sectionEnded;
  }

  /** Between two records. */
  get atBoundary(): boolean {
    return !this.#blocks.active;
  }

  /** A section begins; `setup` when it is the one that may hold the block list. */
  beginSection(setup: boolean): void {
    this.#listAllowed = setup;
    this.#sectionEnded = false;
  }

  /**
   * Decodes whole records up to and including the end of the section, returns where it stopped; a handler
   * that is held stops it before.
   *
   * @param origin Stream offset of `bytes[0]`; negative when decoding starts further into a buffer.
   */
  decode(bytes: Uint8Array, start: number, end: number, origin: number): number {
    const handler = this.#handler;
    const pageSize = this.#pageSize;
    const flagMask = pageSize - 1;
    this.#sectionEnded = false;
    let at = start;
    if (this.#blocks.active) {
      at = this.#blocks.decode(bytes, at, end, origin);
      if (this.#blocks.active) return at;
    }
    // The loop itself handles the record that a background stream consists of: 5 ns a page, where the
    // general way takes 28 (tests/protocol/stream_decoder_bench.ts).
    while (end - at >= 8) {
      const low = readU32(bytes, at + 4);
      const flags = low & flagMask;
      if (flags === PAGE_CONTINUED && this.#blockKnown) {
        if (end - at < 8 + pageSize) return at;
        const high = readU32(bytes, at);
        if (high > 0x1f_ffff) throw offsetTooLarge(high, origin + at);
        handler.page(high * TWO_TO_32 + (low - flags), bytes, at + 8);
        at += 8 + pageSize;
        if (handler.held) return at;
        continue;
      }
      const next = this.#record(bytes, at, end, origin);
      if (next === at) return at;
      at = next;
      if (this.#sectionEnded || handler.held) return at;
      if (this.#blocks.active) {
        at = this.#blocks.decode(bytes, at, end, origin);
        if (this.#blocks.active) return at;
      }
    }
    return at;
  }

  /** Any record; returns `start` when it is not there in full. */
  #record(bytes: Uint8Array, start: number, end: number, origin: number): number {
    const high = readU32(bytes, start);
    const low = readU32(bytes, start + 4);
    const flags = low & (this.#pageSize - 1);
    if (high > 0x1f_ffff) throw offsetTooLarge(high, origin + start);
    const offset = high * TWO_TO_32 + (low - flags);
    const kind = flags & ~RECORD.CONTINUE;
    const allowed = this.#preempt
      ? kind === RECORD.PAGE || kind === RECORD.ZERO || flags === RECORD.END_OF_SECTION
      : true;
    if (allowed) {
      switch (kind) {
        case RECORD.PAGE:
        case RECORD.ZERO:
        case RECORD.XBZRLE:
        case RECORD.COMPRESS_PAGE:
          return this.#pageRecord(bytes, start, end, origin, kind, flags !== kind, offset);
        case RECORD.END_OF_SECTION:
          if (flags !== kind || offset !== 0) break;
          this.#sectionEnded = true;
          this.#handler.endOfSection();
          return start + 8;
        case RECORD.MULTIFD_FLUSH:
          if (flags !== kind || offset !== 0) break;
          this.#handler.multifdFlush();
          return start + 8;
        case RECORD.MEM_SIZE:
          if (flags !== kind || !this.#listAllowed) break;
          this.#listAllowed = false;
          this.#blocks.begin(offset);
          return start + 8;
      }
    }
    throw new ProtocolError(
      "bad-record",
      origin + start,
      this.#preempt ? "a PAGE, ZERO or end record" : "a RAM record allowed here",
      `flags ${hex(flags)}, offset ${hex(offset)}`,
    );
  }

  #pageRecord(
    bytes: Uint8Array,
    start: number,
    end: number,
    origin: number,
    kind: number,
    continued: boolean,
    offset: number,
  ): number {
    let at = start + 8;
    let nameLength = 0;
    if (!continued) {
      if (at >= end) return start;
      nameLength = bytes[at]!;
      at += 1 + nameLength;
    } else if (!this.#blockKnown) {
      throw new ProtocolError(
        "bad-record",
        origin + start,
        "the first page record of this channel to name its block",
        "the flag CONTINUE",
      );
    }
    const length = this.#payloadLength(kind, bytes, at, end, origin);
    if (length < 0) return start;
    const payload = at + headLength(kind);
    if (end - payload < length) return start;
    // Only now is the record known to be whole: no event may come twice.
    if (!continued) {
      const nameAt = start + 9;
      const name = this.#names.intern(
        bytes,
        nameAt,
        nameLength,
        origin + nameAt - 1,
        "a RAM block",
      );
      this.#blockKnown = true;
      this.#handler.block(name);
    }
    switch (kind) {
      case RECORD.PAGE:
        this.#handler.page(offset, bytes, payload);
        break;
      case RECORD.ZERO:
        this.#handler.zeroPage(offset, bytes[payload]!);
        break;
      case RECORD.XBZRLE:
        this.#handler.xbzrlePage(offset, bytes, payload, length);
        break;
      default:
        this.#handler.compressedPage(offset, bytes, payload, length);
    }
    return payload + length;
  }

  /** Payload bytes behind the head at `at`, or -1 when the head is not there in full. */
  #payloadLength(
    kind: number,
    bytes: Uint8Array,
    at: number,
    end: number,
    origin: number,
  ): number {
    if (kind === RECORD.PAGE) return this.#pageSize;
    if (kind === RECORD.ZERO) return 1;
    if (end - at < headLength(kind)) return -1;
    if (kind === RECORD.XBZRLE) {
      const length = readU16(bytes, at + 1);
      if (bytes[at] !== XBZRLE_ENCODING || length > this.#pageSize) {
        throw new ProtocolError(
          "bad-page",
          origin + at,
          `XBZRLE encoding 1 with at most ${this.#pageSize} bytes`,
          `encoding ${bytes[at]} with ${length} bytes`,
        );
      }
      return length;
    }
    const length = readU32(bytes, at);
    const most = maxCompressedBytes(this.#pageSize);
    if (length === 0 || length > most) {
      throw new ProtocolError(
        "bad-page",
        origin + at,
        `a compressed page of 1 to ${most} bytes`,
        `${length} bytes`,
      );
    }
    return length;
  }
}

/** Bytes between a page record's header and its payload: encoding and length. */
function headLength(kind: number): number {
  if (kind === RECORD.XBZRLE) return 3;
  return kind === RECORD.COMPRESS_PAGE ? 4 : 0;
}

function offsetTooLarge(high: number, offset: number): ProtocolError {
  return new ProtocolError(
    "bad-record",
    offset,
    "a RAM record with an offset below 2^53",
    `${hex(high)} in its upper half`,
  );
}
