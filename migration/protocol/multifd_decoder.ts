/** A multifd channel's bytes, decoded. */

import { readU32, readU64 } from "./byte_order.ts";
import { DEFAULT_TARGET_PAGE_SIZE, MAX_ELEMENT_BYTES } from "./constants.ts";
import { ElementFeed } from "./element_feed.ts";
import {
  MAX_MULTIFD_PAYLOAD,
  MULTIFD_FLAG,
  MULTIFD_HEAD_BYTES,
  MULTIFD_INIT_BYTES,
  MULTIFD_MAGIC,
  MULTIFD_METHOD,
  MULTIFD_NAME_BYTES,
  MULTIFD_VERSION,
  type MultifdHandler,
  type MultifdMethod,
  type MultifdPacket,
  multifdPages,
} from "./multifd.ts";
import { NameTable } from "./names.ts";
import { hex, ProtocolError } from "./protocol_error.ts";
import { recordFormat } from "./record_format.ts";

const CHANNEL = "multifd channel";
/** Magic, version and flags: what says which kind of packet it is. */
const KIND_BYTES = 12;
const KNOWN_FLAGS = MULTIFD_FLAG.SYNC | MULTIFD_FLAG.METHOD | MULTIFD_FLAG.DEVICE_STATE;
/** A packet of device state: kind, a name of 256 bytes, instance and length. */
const DEVICE_STATE_BYTES = KIND_BYTES + MULTIFD_NAME_BYTES + 8;
/** Methods that only a processor's or a card's own library reads. */
const ACCELERATED: readonly (readonly [number, string])[] = [
  [MULTIFD_METHOD.QPL, "qpl"],
  [MULTIFD_METHOD.UADK, "uadk"],
  [MULTIFD_METHOD.QATZIP, "qatzip"],
];

/** What a {@linkcode MultifdDecoder} has to know beforehand. */
export interface MultifdDecoderOptions {
  /** Target page size in bytes; default 4096. */
  readonly targetPageSize?: number;
}

/** A header as it is filled in, again for each packet. */
class Packet implements MultifdPacket {
  sync = false;
  method: MultifdMethod = MULTIFD_METHOD.NONE;
  block = "";
  normalPages = 0;
  zeroPages = 0;
  payloadBytes = 0;
  readonly offsets: Float64Array;

  constructor(pages: number) {
    this.offsets = new Float64Array(pages);
  }
}

/** Decodes one multifd channel, from its first byte on. */
export class MultifdDecoder {
  readonly #handler: MultifdHandler;
  readonly #pageSize: number;
  readonly #headerBytes: number;
  readonly #packet: Packet;
  readonly #names = new NameTable(CHANNEL);
  readonly #feed: ElementFeed;
  #offset = 0;
  #greeted = false;
  /** Bytes of a packet's content that are still to come; -1 between two packets. */
  #left = -1;

  /**
   * @param handler hears what the channel says
   * @param options what is known of the machine
   * @throws {RangeError} for a page size that no target has
   */
  constructor(handler: MultifdHandler, options: MultifdDecoderOptions = {}) {
    const { targetPageSize } = recordFormat(options.targetPageSize ?? DEFAULT_TARGET_PAGE_SIZE);
    const pages = multifdPages(targetPageSize);
    this.#handler = handler;
    this.#pageSize = targetPageSize;
    this.#headerBytes = MULTIFD_HEAD_BYTES + pages * 8;
    this.#packet = new Packet(pages);
    this.#feed = new ElementFeed(this.decode.bind(this), MAX_ELEMENT_BYTES);
  }

  /** Bytes decoded so far. */
  get offset(): number {
    return this.#offset;
  }

  /** Between two packets, as far as what was given to `decode` tells; behind the first words at least. */
  get atBoundary(): boolean {
    return this.#greeted && this.#left < 0 && this.#feed.pending === 0;
  }

  /**
   * Decodes what can be decoded of `bytes[start..end)`.
   *
   * @returns where the first undecoded byte lies: call again with it and more behind it
   * @throws {ProtocolError} when the bytes are no multifd channel's
   */
  decode(bytes: Uint8Array, start: number, end: number): number {
    const origin = this.#offset - start;
    let at = start;
    if (!this.#greeted) {
      if (end - at < MULTIFD_INIT_BYTES) return at;
      this.#greet(bytes, at, origin);
      at += MULTIFD_INIT_BYTES;
      this.#greeted = true;
    }
    while (this.#handler.held !== true) {
      if (this.#left < 0) {
        const next = this.#header(bytes, at, end, origin);
        if (next === at) break;
        at = next;
      }
      const length = this.#piece(end - at);
      if (length === 0 && this.#left > 0) break;
      if (length > 0) {
        this.#handler.payload(bytes, at, length);
        at += length;
        this.#left -= length;
      }
      if (this.#left > 0) break;
      this.#left = -1;
      this.#handler.packetEnd();
    }
    this.#offset = origin + at;
    return at;
  }

  /**
   * Decodes any split of the channel's bytes; keeps what is left over. Not to be mixed with `decode`, nor for a
   * handler that is held.
   *
   * @throws {ProtocolError} when the bytes are no multifd channel's
   */
  feed(chunk: Uint8Array): void {
    this.#feed.feed(chunk);
  }

  /**
   * The input has ended.
   *
   * @param left bytes that `decode` did not decode; 0 for users of `feed`
   * @throws {ProtocolError} when it ended inside a packet
   */
  finish(left = 0): void {
    const rest = left + this.#feed.pending;
    if (rest === 0 && this.#greeted && this.#left < 0) return;
    const what = this.#left > 0 ? `${this.#left} bytes more of a packet's pages` : "a whole packet";
    const found = `the end of the input after ${rest} bytes of it`;
    throw new ProtocolError("truncated", this.#offset, what, found, CHANNEL);
  }

  #greet(bytes: Uint8Array, at: number, origin: number): void {
    this.#kind(bytes, at, origin);
    this.#handler.channel(bytes[at + 24]!, bytes.slice(at + 8, at + 24));
  }

  /** Checks magic and version. */
  #kind(bytes: Uint8Array, at: number, origin: number): void {
    const magic = readU32(bytes, at);
    const version = readU32(bytes, at + 4);
    if (magic === MULTIFD_MAGIC && version === MULTIFD_VERSION) return;
    const wanted = `${hex(MULTIFD_MAGIC)} and version ${MULTIFD_VERSION}`;
    throw this.#bad(origin + at, wanted, `${hex(magic)} and version ${version}`);
  }

  /** A packet's header; returns `at` when it is not there in full. */
  #header(bytes: Uint8Array, at: number, end: number, origin: number): number {
    if (end - at < KIND_BYTES) return at;
    this.#kind(bytes, at, origin);
    const flags = readU32(bytes, at + 8);
    if ((flags & MULTIFD_FLAG.DEVICE_STATE) !== 0) {
      if (end - at < DEVICE_STATE_BYTES) return at;
      const name = this.#name(bytes, at + KIND_BYTES, origin, "a device");
      throw this.#bad(origin + at, "pages: its state cannot be taken here, detach it", name);
    }
    if (end - at < this.#headerBytes) return at;
    const packet = this.#packet;
    const most = packet.offsets.length;
    const normalPages = readU32(bytes, at + 16);
    const zeroPages = readU32(bytes, at + 32);
    const pages = normalPages + zeroPages;
    packet.sync = (flags & MULTIFD_FLAG.SYNC) !== 0;
    packet.method = this.#method(flags, origin + at + 8);
    if (pages > most) {
      throw this.#bad(origin + at + 16, `at most ${most} pages`, `${pages} pages`);
    }
    packet.normalPages = normalPages;
    packet.zeroPages = zeroPages;
    // Without pages this stays what it was for the packet before, and nothing follows (7.2 to 8.2, seen).
    packet.payloadBytes = normalPages === 0 ? 0 : readU32(bytes, at + 20);
    packet.block = pages === 0 ? "" : this.#name(bytes, at + 64, origin, "a RAM block");
    this.#checkLength(packet, origin + at + 20);
    for (let index = 0; index < pages; index++) {
      const place = at + MULTIFD_HEAD_BYTES + index * 8;
      const offset = readU64(bytes, place);
      if (offset % this.#pageSize !== 0 || offset > Number.MAX_SAFE_INTEGER) {
        const wanted = `a multiple of ${this.#pageSize} below 2^53`;
        throw this.#bad(origin + place, wanted, `a page at ${hex(offset)}`);
      }
      packet.offsets[index] = offset;
    }
    this.#left = packet.payloadBytes;
    this.#handler.packet(packet);
    return at + this.#headerBytes;
  }

  #method(flags: number, offset: number): MultifdMethod {
    const method = flags & MULTIFD_FLAG.METHOD;
    if ((flags & ~KNOWN_FLAGS) === 0) {
      switch (method) {
        case MULTIFD_METHOD.NONE:
        case MULTIFD_METHOD.ZLIB:
        case MULTIFD_METHOD.ZSTD:
          return method;
      }
      const known = ACCELERATED.find(([value]) => value === method);
      if (known !== undefined) {
        const wanted = "multifd-compression none, zlib or zstd: set one of them at the source";
        throw this.#bad(offset, wanted, known[1]);
      }
    }
    throw this.#bad(offset, "flags of multifd with one method", hex(flags));
  }

  #checkLength({ method, normalPages, payloadBytes }: Packet, offset: number): void {
    const plain = normalPages * this.#pageSize;
    const good = method === MULTIFD_METHOD.NONE || normalPages === 0
      ? payloadBytes === plain
      : payloadBytes > 0 && payloadBytes <= MAX_MULTIFD_PAYLOAD;
    if (good) return;
    const wanted = method === MULTIFD_METHOD.NONE ? `${plain}` : `1 to ${MAX_MULTIFD_PAYLOAD}`;
    throw this.#bad(offset, `${wanted} bytes of ${normalPages} pages`, `${payloadBytes} bytes`);
  }

  /** A name that zeros follow. */
  #name(bytes: Uint8Array, at: number, origin: number, what: string): string {
    const end = bytes.indexOf(0, at);
    const length = end < 0 || end > at + MULTIFD_NAME_BYTES ? MULTIFD_NAME_BYTES : end - at;
    if (length === MULTIFD_NAME_BYTES) {
      throw this.#bad(origin + at, `${what}'s name of at most 255 bytes`, "one without end");
    }
    return this.#names.intern(bytes, at, length, origin + at, what);
  }

  /** Bytes of content that can be given out now. */
  #piece(there: number): number {
    const length = Math.min(this.#left, there);
    if (this.#packet.method !== MULTIFD_METHOD.NONE) return length;
    return length - length % this.#pageSize;
  }

  #bad(offset: number, wanted: string, found: string): ProtocolError {
    return new ProtocolError("bad-packet", offset, wanted, found, CHANNEL);
  }
}
