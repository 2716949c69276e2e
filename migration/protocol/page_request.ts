/** Requests for pages, written where the caller wants them. */

import { writeU16, writeU32, writeU64 } from "./byte_order.ts";
import { MESSAGE } from "./constants.ts";

/** A request is never longer: head, start, length, count and name. */
export const MAX_PAGE_REQUEST_BYTES: number = 4 + 8 + 4 + 1 + 255;

/**
 * Writes a request for pages into a buffer of the caller's (docs/protocol.md section 2, messages 3 and
 * 4).
 *
 * @param at Where in `bytes`; {@linkcode MAX_PAGE_REQUEST_BYTES} must fit behind it.
 * @param start First byte wanted, from the start of the block; a multiple of the block's page size.
 * @param length Bytes wanted; a multiple of the block's page size.
 * @param name The block's name, encoded once by `encodeName`; absent when the path's previous request
 * was for the same block. The first request of a connection has to name it.
 * @returns Where the request ends.
 */
export function writePageRequest(
  bytes: Uint8Array,
  at: number,
  start: number,
  length: number,
  name?: Uint8Array,
): number {
  writeU16(bytes, at, name === undefined ? MESSAGE.REQUEST_PAGES : MESSAGE.REQUEST_PAGES_NAMED);
  writeU16(bytes, at + 2, name === undefined ? 12 : 13 + name.length);
  writeU64(bytes, at + 4, start);
  writeU32(bytes, at + 12, length);
  if (name === undefined) return at + 16;
  bytes[at + 16] = name.length;
  for (let i = 0; i < name.length; i++) bytes[at + 17 + i] = name[i]!;
  return at + 17 + name.length;
}
