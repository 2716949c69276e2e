/**
 * Big-endian numbers in a `Uint8Array`, without a `DataView`: decoders are handed the same buffer at
 * ever new positions, and V8 compiles these to a few loads. The caller has checked the bounds, which
 * is why a missing byte reads as 0 and no more is made of it.
 */

/** What a 64-bit number's upper word counts. */
export const TWO_TO_32 = 0x1_0000_0000;

/** Unsigned 16 bits at `at`. */
export function readU16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

/** Unsigned 32 bits at `at`. */
export function readU32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>>
    0;
}

/** Unsigned 64 bits at `at`; above `Number.MAX_SAFE_INTEGER` inexact, but never below it again. */
export function readU64(bytes: Uint8Array, at: number): number {
  return readU32(bytes, at) * TWO_TO_32 + readU32(bytes, at + 4);
}

/** Writes the low 16 bits of `value`. */
export function writeU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

/** Writes the low 32 bits of `value`. */
export function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** Writes 64 bits; `value` is a whole number from 0 to 2^53 - 1. */
export function writeU64(bytes: Uint8Array, at: number, value: number): void {
  writeU32(bytes, at, Math.floor(value / TWO_TO_32));
  // Not `value >>> 0`: with values beyond 2^31 that goes through a slow conversion of a double anyway,
  // and the remainder says what is meant.
  writeU32(bytes, at + 4, value % TWO_TO_32);
}
