/** The head of a subsection. */

import { readU32 } from "../protocol/byte_order.ts";
import { ELEMENT } from "../protocol/constants.ts";
import { FieldError } from "./field_error.ts";
import { printable } from "./section.ts";
import type { Structure } from "./structure.ts";

/** What precedes the fields of a subsection. */
export interface SubsectionHead {
  /** `parent/child`. */
  readonly name: string;
  /** Version of its fields. */
  readonly version: number;
  /** Where its fields begin. */
  readonly end: number;
}

/**
 * Reads the head of a subsection of the structure whose fields end at `at` (docs/protocol.md section
 * 1.1): byte 0x05, counted name, be32 version.
 *
 * Nothing marks the end of the fields, so only the name tells a subsection from a field of what is
 * around: it has to begin with `prefix`.
 *
 * @returns undefined when there is none
 * @throws {FieldError} When the device state ends in it.
 */
export function subsectionHead(
  bytes: Uint8Array,
  at: number,
  prefix: Uint8Array,
): SubsectionHead | undefined {
  if (bytes[at] !== ELEMENT.SUBSECTION) return undefined;
  const start = at + 2;
  const length = bytes[at + 1] ?? 255;
  if (length <= prefix.length) return undefined;
  for (let i = 0; i < prefix.length && start + i < bytes.length; i++) {
    if (bytes[start + i] !== prefix[i]) return undefined;
  }
  const end = start + length + 4;
  if (end > bytes.length) {
    throw new FieldError(
      "truncated",
      "",
      at,
      "a subsection's name and version",
      `the end of the device state behind ${bytes.length - at} bytes`,
    );
  }
  return {
    name: printable(bytes.subarray(start, start + length)),
    version: readU32(bytes, end - 4),
    end,
  };
}

/** Why a version cannot be loaded, if it cannot. */
export function versionFault(
  { version: highest, minimumVersion: lowest }: Structure,
  version: number,
  offset: number,
): FieldError | undefined {
  if (version > highest) {
    const expected = `a version up to ${highest}, or a newer program here`;
    return new FieldError("too-new", "", offset, expected, `version ${version}`);
  }
  if (version < lowest) {
    const expected = `a version of at least ${lowest}, or a newer program at the source`;
    return new FieldError("too-old", "", offset, expected, `version ${version}`);
  }
  return undefined;
}
