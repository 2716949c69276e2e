/** The head of a device's section. */

import { readU32 } from "../protocol/byte_order.ts";
import { ELEMENT } from "../protocol/constants.ts";
import { FieldError } from "./field_error.ts";

/** Bytes of a footer: its type and the section's id. */
export const FOOTER_BYTES = 5;

// ignoreBOM: a name that begins with a byte order mark is not the one without it.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** What precedes the fields of a device. */
export interface SectionHead {
  /** Section id as the source numbered it; its footer repeats it. */
  readonly id: number;
  /** Name of the device. */
  readonly name: string;
  /** Tells devices of one name apart. */
  readonly instance: number;
  /** Version of its fields. */
  readonly version: number;
  /** Where its fields begin. */
  readonly end: number;
}

/**
 * Reads the head of a device's section (docs/protocol.md section 1.1): byte 0x04, be32 id, counted
 * name, be32 instance, be32 version.
 *
 * @throws {FieldError} When there is none, or the device state ends in it.
 */
export function sectionHead(bytes: Uint8Array, at: number): SectionHead {
  const type = bytes[at]!;
  if (type !== ELEMENT.SECTION_FULL) {
    const expected = `a device's section, type ${ELEMENT.SECTION_FULL}`;
    throw new FieldError("bad-section", "", at, expected, `type ${type}`);
  }
  const length = bytes[at + 5];
  const end = at + 6 + (length ?? 0) + 8;
  if (end > bytes.length || length === undefined) {
    const found = `the end of the device state behind ${bytes.length - at} bytes`;
    throw new FieldError("truncated", "", at, "the head of a device's section", found);
  }
  return {
    id: readU32(bytes, at + 1),
    name: printable(bytes.subarray(at + 6, at + 6 + length)),
    instance: readU32(bytes, end - 8),
    version: readU32(bytes, end - 4),
    end,
  };
}

/**
 * Makes sure that the footer of section `id` is where a device's fields end.
 *
 * @param field the last field, for the error
 * @throws {FieldError} When it is not.
 */
export function checkFooter(bytes: Uint8Array, at: number, id: number, field: string): void {
  const left = bytes.length - at;
  const expected = `the footer of section ${id} where the fields end`;
  if (left < FOOTER_BYTES && isStartOfFooter(bytes, at, id)) {
    const found = `the end of the device state behind ${left} bytes`;
    throw new FieldError("truncated", field, at, expected, found);
  }
  if (bytes[at] === ELEMENT.SECTION_FOOTER && readU32(bytes, at + 1) === id) return;
  const length = bytes[at + 1] ?? 0;
  if (bytes[at] === ELEMENT.SUBSECTION && length > 0 && at + 2 + length <= bytes.length) {
    const name = printable(bytes.subarray(at + 2, at + 2 + length));
    if (name.includes("/")) {
      const wanted = "no subsection of another structure";
      throw new FieldError("unknown-subsection", name, at, wanted, name);
    }
  }
  const found = Array.from(bytes.subarray(at, at + FOOTER_BYTES), hexByte).join(" ");
  throw new FieldError("wrong-size", field, at, expected, `bytes ${found}`);
}

/** A name for people and for comparison: bytes that are no printable UTF-8 become U+FFFD. */
export function printable(name: Uint8Array): string {
  // deno-lint-ignore no-control-regex -- they are what it is about
  return decoder.decode(name).replace(/[\x00-\x1f\x7f]/g, "\ufffd");
}

function isStartOfFooter(bytes: Uint8Array, at: number, id: number): boolean {
  const footer = [ELEMENT.SECTION_FOOTER, id >>> 24, id >>> 16, id >>> 8, id];
  return bytes.subarray(at).every((byte, i) => byte === (footer[i]! & 0xff));
}

function hexByte(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}
