/** Headers of page records, written where the caller wants them. */

import { writeU64 } from "./byte_order.ts";
import { RECORD } from "./constants.ts";

/** A page record's header is never longer: first word, count and name. */
export const MAX_RECORD_HEADER_BYTES: number = 8 + 1 + 255;

/**
 * Writes the header of a page record, for senders that keep headers and pages apart (docs/protocol.md
 * section 1.3).
 *
 * @param at Where in `bytes`; {@linkcode MAX_RECORD_HEADER_BYTES} must fit behind it.
 * @param offset Of the page in its block, bytes; a multiple of the target page size below 2^53.
 * @param flag `RECORD.PAGE` or another kind of page.
 * @param name The block's name, encoded once by `encodeName`; absent when the channel's previous record
 * was of the same block.
 * @returns Where the payload begins.
 */
export function writeRecordHeader(
  bytes: Uint8Array,
  at: number,
  offset: number,
  flag: number,
  name?: Uint8Array,
): number {
  if (name === undefined) {
    writeU64(bytes, at, offset + flag + RECORD.CONTINUE);
    return at + 8;
  }
  writeU64(bytes, at, offset + flag);
  bytes[at + 8] = name.length;
  // A name has a few bytes: a loop is faster than set(), which costs 50 ns to call.
  for (let i = 0; i < name.length; i++) bytes[at + 9 + i] = name[i]!;
  return at + 9 + name.length;
}
