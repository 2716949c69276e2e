/** Pages that came compressed by zlib. */

import { inflateSync } from "node:zlib";
import { ProtocolError } from "./protocol_error.ts";

/**
 * Longest COMPRESS_PAGE payload that is believed, bytes.
 *
 * zlib never makes a page longer than its `compressBound`, a page plus 14 bytes or so; the eighth on
 * top leaves room for other deflaters.
 */
export function maxCompressedBytes(targetPageSize: number): number {
  return targetPageSize + (targetPageSize >>> 3) + 64;
}

/**
 * Inflates a COMPRESS_PAGE payload (docs/protocol.md section 1.3: a complete zlib stream of one target
 * page).
 *
 * @param bytes Holds the payload at `at`, `length` bytes of it.
 * @param targetPageSize What it must inflate to, bytes.
 * @param offset Stream offset of the payload, for the error.
 * @returns The page.
 * @throws {ProtocolError} When it is no zlib stream or one of another length.
 */
export function inflatePage(
  bytes: Uint8Array,
  at: number,
  length: number,
  targetPageSize: number,
  offset = 0,
): Uint8Array {
  let page: Uint8Array;
  try {
    const inflated = inflateSync(bytes.subarray(at, at + length), {
      maxOutputLength: targetPageSize,
    });
    // A plain array over the same bytes, not Node's Buffer.
    page = new Uint8Array(inflated.buffer, inflated.byteOffset, inflated.length);
  } catch (cause) {
    throw new ProtocolError(
      "bad-page",
      offset,
      `a zlib stream of one page of ${targetPageSize} bytes`,
      cause instanceof Error ? cause.message : `${cause}`,
    );
  }
  if (page.length !== targetPageSize) {
    throw new ProtocolError(
      "bad-page",
      offset,
      `a zlib stream of one page of ${targetPageSize} bytes`,
      `one of ${page.length} bytes`,
    );
  }
  return page;
}
