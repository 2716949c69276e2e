/** The return path's bytes, decoded. */

import { readU16, readU32, readU64 } from "./byte_order.ts";
import { BITMAP_END, MAX_MESSAGE_BYTES, MESSAGE } from "./constants.ts";
import { ElementFeed } from "./element_feed.ts";
import { decodeExtensions } from "./extensions.ts";
import { NameTable } from "./names.ts";
import { hex, ProtocolError, type ProtocolErrorCode } from "./protocol_error.ts";
import type { ReturnPathHandler } from "./return_path.ts";

/** What errors call it. */
const CHANNEL = "return path";
const HEAD_BYTES = 4;
const REQUEST_BYTES = 12;

/** The payload lengths a message may have (docs/protocol.md section 2): least and most. */
const LENGTHS: Readonly<Record<number, readonly [number, number]>> = {
  [MESSAGE.SHUT]: [4, 4],
  [MESSAGE.PONG]: [4, 4],
  [MESSAGE.REQUEST_PAGES_NAMED]: [REQUEST_BYTES + 2, REQUEST_BYTES + 256],
  [MESSAGE.REQUEST_PAGES]: [REQUEST_BYTES, REQUEST_BYTES],
  [MESSAGE.RECEIVED_BITMAP]: [2, 256],
  [MESSAGE.RESUME_ACK]: [4, 4],
  [MESSAGE.SWITCHOVER_ACK]: [0, 0],
  [MESSAGE.EXTENSIONS]: [0, MAX_MESSAGE_BYTES],
};

type State = "message" | "bitmap size" | "bitmap" | "bitmap end" | "nothing after SHUT";

/**
 * Decodes the return path, destination to source (docs/protocol.md sections 2 and 5), as strictly as
 * QEMU's source.
 *
 * What a request asks for is not compared with the blocks: the handler does that. No request costs an
 * allocation. A new connection needs a new decoder.
 */
export class ReturnPathDecoder {
  readonly #handler: ReturnPathHandler;
  readonly #feed: ElementFeed;
  readonly #names = new NameTable(CHANNEL);
  #state: State = "message";
  #offset = 0;
  #lastBlock: string | undefined;
  /** Block of the bitmap that is coming, and how much of it. */
  #bitmapBlock = "";
  #bitmapLeft = 0;

  /** @param handler Called for each message, in order. */
  constructor(handler: ReturnPathHandler) {
    this.#handler = handler;
    this.#feed = new ElementFeed(this.decode.bind(this), HEAD_BYTES + MAX_MESSAGE_BYTES);
  }

  /** Bytes decoded so far. */
  get offset(): number {
    return this.#offset;
  }

  /** Between two messages, and nothing fed is waiting for more bytes. */
  get atBoundary(): boolean {
    return (this.#state === "message" || this.#state === "nothing after SHUT") &&
      this.#feed.pending === 0;
  }

  /**
   * Decodes what is whole in `bytes[start..end)`; with 516 bytes it always gets on.
   *
   * @returns Where the first undecoded byte lies: call again with it and more behind it.
   * @throws {ProtocolError} When the bytes are not return-path messages.
   */
  decode(bytes: Uint8Array, start: number, end: number): number {
    const origin = this.#offset - start;
    let at = start;
    for (;;) {
      const state = this.#state;
      const next = this.#step(state, bytes, at, end, origin + at);
      if (next === at && state === this.#state) break;
      at = next;
      this.#offset = origin + at;
    }
    return at;
  }

  /**
   * Decodes any split of the path's bytes; keeps what is left over. Not to be mixed with `decode`.
   *
   * @throws {ProtocolError} When the bytes are not return-path messages.
   */
  feed(chunk: Uint8Array): void {
    this.#feed.feed(chunk);
  }

  /**
   * The input has ended. Whether a SHUT came before is the caller's question.
   *
   * @param left Bytes that `decode` did not decode; 0 for users of `feed`.
   * @throws {ProtocolError} When it ended inside a message.
   */
  finish(left = 0): void {
    const rest = left + this.#feed.pending;
    if (rest === 0 && this.atBoundary) return;
    throw this.#error(
      "truncated",
      this.#offset,
      `a whole ${this.#state}`,
      `the end of the input after ${rest} bytes of it`,
    );
  }

  #step(state: State, bytes: Uint8Array, at: number, end: number, offset: number): number {
    switch (state) {
      case "message":
        return this.#message(bytes, at, end, offset);
      case "bitmap size":
        return this.#size(bytes, at, end, offset);
      case "bitmap": {
        const length = Math.min(this.#bitmapLeft, end - at);
        this.#bitmapLeft -= length;
        if (this.#bitmapLeft === 0) this.#state = "bitmap end";
        if (length > 0) this.#handler.receivedBitmapData(bytes, at, length);
        return at + length;
      }
      case "bitmap end":
        return this.#end(bytes, at, end, offset);
      case "nothing after SHUT":
        if (at < end) throw this.#error("bad-message", offset, state, hex(bytes[at]!));
        return at;
    }
  }

  #message(bytes: Uint8Array, at: number, end: number, offset: number): number {
    if (end - at < HEAD_BYTES) return at;
    const type = readU16(bytes, at);
    const length = readU16(bytes, at + 2);
    const allowed = LENGTHS[type];
    if (allowed === undefined) {
      throw this.#error(
        "bad-message",
        offset,
        "a message from 1 to 7, or of extensions",
        `${type}`,
      );
    }
    if (length < allowed[0] || length > allowed[1]) {
      const expected = `message ${type} with ${allowed[0]} to ${allowed[1]} bytes`;
      throw this.#error("bad-message", offset + 2, expected, `${length} bytes`);
    }
    const payload = at + HEAD_BYTES;
    if (end - payload < length) return at;
    const payloadOffset = offset + HEAD_BYTES;
    switch (type) {
      case MESSAGE.SHUT:
        this.#state = "nothing after SHUT";
        this.#handler.shut(readU32(bytes, payload));
        break;
      case MESSAGE.PONG:
        this.#handler.pong(readU32(bytes, payload));
        break;
      case MESSAGE.REQUEST_PAGES_NAMED:
        this.#lastBlock = this.#name(
          bytes,
          payload + REQUEST_BYTES,
          length - REQUEST_BYTES,
          payloadOffset + REQUEST_BYTES,
        );
        this.#request(bytes, payload, payloadOffset);
        break;
      case MESSAGE.REQUEST_PAGES:
        this.#request(bytes, payload, payloadOffset);
        break;
      case MESSAGE.RECEIVED_BITMAP:
        this.#bitmapBlock = this.#name(bytes, payload, length, payloadOffset);
        this.#state = "bitmap size";
        break;
      case MESSAGE.RESUME_ACK:
        this.#handler.resumeAck(readU32(bytes, payload));
        break;
      case MESSAGE.SWITCHOVER_ACK:
        this.#handler.switchoverAck();
        break;
      case MESSAGE.EXTENSIONS:
        this.#handler.extensions(
          decodeExtensions(bytes, payload, length, payloadOffset, "bad-message", CHANNEL),
        );
        break;
    }
    return payload + length;
  }

  /** The counted name that fills `length` bytes at `at`. */
  #name(bytes: Uint8Array, at: number, length: number, offset: number): string {
    if (bytes[at]! !== length - 1) {
      const expected = `a block name of ${length - 1} bytes`;
      throw this.#error("bad-message", offset, expected, `one of ${bytes[at]} bytes`);
    }
    return this.#names.intern(bytes, at + 1, length - 1, offset, "a RAM block");
  }

  #request(bytes: Uint8Array, at: number, offset: number): void {
    const block = this.#lastBlock;
    if (block === undefined) {
      const expected = "the first request to name its block (message 3)";
      throw this.#error("bad-message", offset - HEAD_BYTES, expected, "message 4");
    }
    const start = readU64(bytes, at);
    const length = readU32(bytes, at + 8);
    if (length === 0 || !Number.isSafeInteger(start + length)) {
      const expected = "a request of at least a byte that ends below 2^53";
      throw this.#error("bad-message", offset, expected, `${length} bytes at ${hex(start)}`);
    }
    this.#handler.requestPages(block, start, length);
  }

  #size(bytes: Uint8Array, at: number, end: number, offset: number): number {
    if (end - at < 8) return at;
    const size = readU64(bytes, at);
    if (size % 8 !== 0 || !Number.isSafeInteger(size)) {
      const expected = "a bitmap of a multiple of 8 bytes, below 2^53";
      throw this.#error("bad-bitmap", offset, expected, hex(size));
    }
    this.#bitmapLeft = size;
    this.#state = "bitmap";
    this.#handler.receivedBitmap(this.#bitmapBlock, size);
    return at + 8;
  }

  #end(bytes: Uint8Array, at: number, end: number, offset: number): number {
    if (end - at < 8) return at;
    const high = readU32(bytes, at);
    const low = readU32(bytes, at + 4);
    if (high !== BITMAP_END.HIGH || low !== BITMAP_END.LOW) {
      const expected = `the bitmap's end mark ${hex(BITMAP_END.HIGH)} ${hex(BITMAP_END.LOW)}`;
      throw this.#error("bad-bitmap", offset, expected, `${hex(high)} ${hex(low)}`);
    }
    this.#state = "message";
    this.#handler.receivedBitmapEnd();
    return at + 8;
  }

  #error(code: ProtocolErrorCode, offset: number, expected: string, found: string): ProtocolError {
    return new ProtocolError(code, offset, expected, found, CHANNEL);
  }
}
