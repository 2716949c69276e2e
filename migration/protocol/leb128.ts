/** Numbers of as many bytes as they need: seven bits in each, the lowest first (LEB128). */

import type { ByteWriter } from "./byte_writer.ts";

/** Bytes of the longest number: 35 bits. More than 2^31 pages no layout has. */
const MAX_BYTES = 5;
/** The largest number that is written and read. */
export const MAX_LEB128 = 2 ** 35 - 1;

/**
 * Appends a number.
 *
 * @param value a whole number from 0 to {@linkcode MAX_LEB128}
 */
export function writeLeb128(writer: ByteWriter, value: number): void {
  for (; value > 0x7f; value = Math.floor(value / 0x80)) writer.u8(0x80 | (value % 0x80));
  writer.u8(value);
}

/** Reads one number after the other. */
export class Leb128Reader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  /** Where the next one begins. */
  at: number;

  /** The numbers are in `bytes[at..end)`, among other things that are read by whoever moves `at`. */
  constructor(bytes: Uint8Array, at: number, end: number) {
    this.#bytes = bytes;
    this.at = at;
    this.#end = end;
  }

  /** True when nothing is left. */
  get over(): boolean {
    return this.at >= this.#end;
  }

  /** Takes the next number; -1 for one that does not end where it must. */
  next(): number {
    let value = 0;
    for (let place = 0; place < MAX_BYTES && this.at < this.#end; place++) {
      const byte = this.#bytes[this.at++]!;
      value += (byte & 0x7f) * 2 ** (7 * place);
      if (byte < 0x80) return value;
    }
    return -1;
  }
}
