/** A buffer that encoders append to. */

import { writeU16, writeU32, writeU64 } from "./byte_order.ts";
import { encodeName } from "./names.ts";

/** Appends to a buffer that grows; reusable, so that encoding allocates only while it grows. */
export class ByteWriter {
  #bytes: Uint8Array;
  #length = 0;

  /** @param capacity Bytes to begin with. */
  constructor(capacity = 4096) {
    this.#bytes = new Uint8Array(capacity);
  }

  /** Bytes written since the last `take`. */
  get length(): number {
    return this.#length;
  }

  /** A copy of what was written since the last `take`; the buffer is kept for what comes. */
  take(): Uint8Array<ArrayBuffer> {
    const taken = this.#bytes.slice(0, this.#length);
    this.#length = 0;
    return taken;
  }

  /** Appends a byte. */
  u8(value: number): void {
    // In one statement the buffer would be read before #room() replaces it.
    const at = this.#room(1);
    this.#bytes[at] = value;
  }

  /** Appends 16 bits. */
  u16(value: number): void {
    const at = this.#room(2);
    writeU16(this.#bytes, at, value);
  }

  /** Appends 32 bits. */
  u32(value: number): void {
    const at = this.#room(4);
    writeU32(this.#bytes, at, value);
  }

  /**
   * Appends 64 bits.
   *
   * @throws {RangeError} When `value` is not a whole number from 0 to 2^53 - 1.
   */
  u64(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new RangeError(`Cannot encode other than a whole number from 0 to 2^53 - 1: ${value}`);
    }
    const at = this.#room(8);
    writeU64(this.#bytes, at, value);
  }

  /** Appends `length` bytes from `bytes[at]`. */
  bytes(bytes: Uint8Array, at = 0, length: number = bytes.length - at): void {
    if (at < 0 || length < 0 || at + length > bytes.length) {
      throw new RangeError(
        `Cannot encode bytes outside their array of ${bytes.length}: ${length} at ${at}`,
      );
    }
    const to = this.#room(length);
    this.#bytes.set(bytes.subarray(at, at + length), to);
  }

  /**
   * Appends a counted name.
   *
   * @throws {RangeError} When it is empty or longer than 255 bytes.
   */
  name(name: string): void {
    const bytes = encodeName(name);
    this.u8(bytes.length);
    this.bytes(bytes);
  }

  #room(length: number): number {
    const at = this.#length;
    const needed = at + length;
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(needed, 2 * this.#bytes.length));
      grown.set(this.#bytes.subarray(0, at));
      this.#bytes = grown;
    }
    this.#length = needed;
    return at;
  }
}
