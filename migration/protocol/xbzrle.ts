/** Pages that came as the difference to what they were. */

import { ProtocolError } from "./protocol_error.ts";

/**
 * Applies an XBZRLE page to the page's previous content (docs/protocol.md section 1.3; QEMU
 * docs/xbzrle.txt).
 *
 * The encoding repeats: length of a run to keep, length of a run to replace, the new bytes. Lengths are
 * ULEB128 of at most two bytes; what follows the last run is kept. Nothing is written before the whole
 * encoding has been found good.
 *
 * @param previous The page's content at the receiver; becomes the new content.
 * @param bytes Holds the encoding at `at`, `length` bytes of it.
 * @param offset Stream offset of the encoding, for the error.
 * @throws {ProtocolError} When a run leaves the page or the encoding.
 */
export function decodeXbzrle(
  previous: Uint8Array,
  bytes: Uint8Array,
  at: number,
  length: number,
  offset = 0,
): void {
  walk(previous, bytes, at, length, offset, false);
  walk(previous, bytes, at, length, offset, true);
}

function walk(
  page: Uint8Array,
  bytes: Uint8Array,
  start: number,
  length: number,
  offset: number,
  write: boolean,
): void {
  const end = start + length;
  let at = start;
  let to = 0;
  let keep = true;
  while (at < end) {
    const first = bytes[at]!;
    const two = first >= 0x80;
    const second = two ? bytes[at + 1]! : 0;
    if (two && (at + 1 >= end || second >= 0x80)) {
      throw bad(offset + at - start, "a run length of at most two bytes");
    }
    const run = (first & 0x7f) | (second << 7);
    const runAt = at;
    at += two ? 2 : 1;
    // Only the first run may be empty: it is, when the page's first byte changed.
    if (run === 0 && !(keep && to === 0)) {
      throw bad(offset + runAt - start, "a run that is not empty");
    }
    if (to + run > page.length || (!keep && run > end - at)) {
      throw bad(offset + runAt - start, "a run inside the page and the encoding");
    }
    if (!keep) {
      if (write) page.set(bytes.subarray(at, at + run), to);
      at += run;
    }
    to += run;
    keep = !keep;
  }
  if (!keep) throw bad(offset + length, "the run of new bytes that ends the encoding");
}

function bad(offset: number, expected: string): ProtocolError {
  return new ProtocolError("bad-page", offset, expected, "another", "XBZRLE page");
}
