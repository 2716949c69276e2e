/** As much of protobuf as CRIU's pagemaps take: numbers. */

/** How a field is written, the low three bits of its tag: protobuf.dev/programming-guides/encoding. */
const Wire = { VARINT: 0, FIXED64: 1, BYTES: 2, FIXED32: 5 } as const;

/**
 * Calls back with each field of a message that is a number, and passes over all others: no field that is looked
 * for is one of them. Numbers above 2^53 are about right: who uses one looks whether it is safe.
 *
 * A library would be larger than what it replaces: six fields of two messages.
 *
 * @throws {RangeError} for bytes that are no message
 */
export function eachNumber(
  bytes: Uint8Array,
  visit: (field: number, value: number) => void,
): void {
  for (let at = 0; at < bytes.length;) {
    const tag = numberAt(bytes, at);
    at = endOfNumber(bytes, at);
    const field = Math.floor(tag / 8);
    switch (tag % 8) {
      case Wire.VARINT:
        visit(field, numberAt(bytes, at));
        at = endOfNumber(bytes, at);
        break;
      case Wire.BYTES: {
        const length = numberAt(bytes, at);
        at = endOfNumber(bytes, at);
        at += length;
        break;
      }
      case Wire.FIXED64:
        at += 8;
        break;
      case Wire.FIXED32:
        at += 4;
        break;
      default:
        throw new RangeError(`Field of an unknown kind: ${tag % 8}`);
    }
    if (at > bytes.length) throw new RangeError("Field that ends behind its message");
  }
}

function numberAt(bytes: Uint8Array, start: number): number {
  let value = 0;
  let scale = 1;
  for (let at = start, end = endOfNumber(bytes, start); at < end; at++, scale *= 128) {
    value += (bytes[at]! & 127) * scale;
  }
  return value;
}

function endOfNumber(bytes: Uint8Array, start: number): number {
  for (let at = start; at < bytes.length && at < start + 10; at++) {
    if (bytes[at]! < 128) return at + 1;
  }
  throw new RangeError("Number without an end");
}
