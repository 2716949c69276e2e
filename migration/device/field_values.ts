/** Values of single fields, by the type that a description gives them. */

import { readU16, readU32 } from "../protocol/byte_order.ts";

/**
 * The value of a field: a number for integers of up to 32 bits, a bigint for those of 64, a boolean,
 * null for a pointer to nothing, or else the bytes (a view).
 */
export type FieldValue = number | bigint | boolean | null | Uint8Array;

/** Bytes that are not what their type allows. */
export interface BadValue {
  /** What would have been right. */
  readonly expected: string;
  /** What was there. */
  readonly found: string;
}

/** QEMU writes this digit in place of what a pointer to nothing would point to. */
export const NULL_POINTER = 0x30;

/**
 * `equal` and `le` say that a loading QEMU compares the field with its own: it must be equal, or less
 * or equal. (Not little-endian: every integer in a stream is big-endian.)
 */
const INTEGER = /^(u?)int(8|16|32|64)(?: equal| le)?$/;

/**
 * Returns the bytes that a value of a type has, or undefined for types of any length and types that
 * are not known here, which are shown as bytes.
 */
export function sizeOfType(type: string): number | undefined {
  const integer = INTEGER.exec(type);
  if (integer !== null) return Number(integer[2]) / 8;
  if (type === "bool" || type === "nullptr") return 1;
  return type === "timer" ? 8 : undefined;
}

/**
 * Returns what reads values of a type. The reader is given the payload, and where in it the value's
 * bytes are; it is made once for all elements of an array.
 *
 * @param type as the description names it
 * @returns a value, or why these bytes are none of that type
 */
export function valueReader(
  type: string,
): (payload: Uint8Array, at: number, size: number) => FieldValue | BadValue {
  const integer = INTEGER.exec(type);
  if (integer !== null) return integerReader(integer[1] === "", Number(integer[2]));
  // Nanoseconds of its clock at which it expires; -1 when it is not set.
  if (type === "timer") return integerReader(true, 64);
  if (type === "bool") return readBoolean;
  if (type === "nullptr") return readNullPointer;
  return (payload, at, size) => payload.subarray(at, at + size);
}

/** Tells a value from the reason why there is none. */
export function isBadValue(value: FieldValue | BadValue): value is BadValue {
  return typeof value === "object" && value !== null && !(value instanceof Uint8Array);
}

function integerReader(
  signed: boolean,
  bits: number,
): (payload: Uint8Array, at: number) => FieldValue {
  if (bits === 64) {
    const convert = signed ? BigInt.asIntN : BigInt.asUintN;
    return (payload, at) =>
      convert(64, (BigInt(readU32(payload, at)) << 32n) | BigInt(readU32(payload, at + 4)));
  }
  const read = bits === 32 ? readU32 : bits === 16 ? readU16 : readU8;
  if (!signed) return read;
  const shift = 32 - bits;
  return (payload, at) => (read(payload, at) << shift) >> shift;
}

function readU8(payload: Uint8Array, at: number): number {
  return payload[at]!;
}

function readBoolean(payload: Uint8Array, at: number): FieldValue | BadValue {
  const byte = payload[at]!;
  return byte <= 1 ? byte === 1 : { expected: "0 or 1", found: `${byte}` };
}

function readNullPointer(payload: Uint8Array, at: number): FieldValue | BadValue {
  const byte = payload[at]!;
  return byte === NULL_POINTER
    ? null
    : { expected: `the mark of a null pointer, ${NULL_POINTER}`, found: `${byte}` };
}
