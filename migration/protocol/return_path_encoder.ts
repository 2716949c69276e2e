/** The return path's messages as bytes. */

import { ByteWriter } from "./byte_writer.ts";
import { BITMAP_END, MAX_MESSAGE_BYTES, MESSAGE } from "./constants.ts";
import { encodeExtensions } from "./extensions.ts";
import { encodeName } from "./names.ts";
import { MAX_PAGE_REQUEST_BYTES, writePageRequest } from "./page_request.ts";
import type { ReturnPathHandler } from "./return_path.ts";

/**
 * Encodes what a destination sends: the counterpart of {@linkcode ReturnPathDecoder}.
 *
 * A new connection needs a new encoder, for its first request has to name the block.
 */
export class ReturnPathEncoder implements ReturnPathHandler {
  readonly #writer = new ByteWriter();
  readonly #names = new Map<string, Uint8Array>();
  readonly #request = new Uint8Array(MAX_PAGE_REQUEST_BYTES);
  #lastBlock: string | undefined;

  /** Bytes encoded and not taken yet. */
  get length(): number {
    return this.#writer.length;
  }

  /** A copy of what was encoded since the last call. */
  take(): Uint8Array {
    return this.#writer.take();
  }

  shut(value: number): void {
    this.#fixed(MESSAGE.SHUT, value);
  }

  pong(value: number): void {
    this.#fixed(MESSAGE.PONG, value);
  }

  requestPages(block: string, start: number, length: number): void {
    const valid = start >= 0 && Number.isSafeInteger(start) && Number.isInteger(length) &&
      length >= 1 && length <= 0xffff_ffff;
    if (!valid) {
      throw new RangeError(
        `Cannot encode a request outside 1 to 2^32 - 1 bytes below 2^53: ${length} at ${start}`,
      );
    }
    const name = block === this.#lastBlock ? undefined : this.#nameOf(block);
    this.#lastBlock = block;
    const end = writePageRequest(this.#request, 0, start, length, name);
    this.#writer.bytes(this.#request, 0, end);
  }

  receivedBitmap(block: string, size: number): void {
    const name = this.#nameOf(block);
    this.#head(MESSAGE.RECEIVED_BITMAP, 1 + name.length);
    this.#writer.u8(name.length);
    this.#writer.bytes(name);
    this.#writer.u64(size);
  }

  receivedBitmapData(bytes: Uint8Array, at: number, length: number): void {
    this.#writer.bytes(bytes, at, length);
  }

  receivedBitmapEnd(): void {
    this.#writer.u32(BITMAP_END.HIGH);
    this.#writer.u32(BITMAP_END.LOW);
  }

  resumeAck(value: number): void {
    this.#fixed(MESSAGE.RESUME_ACK, value);
  }

  switchoverAck(): void {
    this.#head(MESSAGE.SWITCHOVER_ACK, 0);
  }

  extensions(names: readonly string[]): void {
    const payload = encodeExtensions(names);
    if (payload.length > MAX_MESSAGE_BYTES) {
      throw new RangeError(
        `Cannot encode extensions of more than ${MAX_MESSAGE_BYTES} bytes: ${payload.length}`,
      );
    }
    this.#head(MESSAGE.EXTENSIONS, payload.length);
    this.#writer.bytes(payload);
  }

  #fixed(type: number, value: number): void {
    this.#head(type, 4);
    this.#writer.u32(value);
  }

  #head(type: number, length: number): void {
    this.#writer.u16(type);
    this.#writer.u16(length);
  }

  #nameOf(block: string): Uint8Array {
    let name = this.#names.get(block);
    if (name === undefined) {
      name = encodeName(block);
      this.#names.set(block, name);
    }
    return name;
  }
}
