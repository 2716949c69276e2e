/** The command by which a source names pages that it does not hold, as bytes. */

import { ByteWriter } from "./byte_writer.ts";
import { Leb128Reader, MAX_LEB128, writeLeb128 } from "./leb128.ts";
import { decodeName, encodeName } from "./names.ts";
import { ProtocolError } from "./protocol_error.ts";

/**
 * Most runs that {@linkcode encodeAbsentPages} takes: a number has at most five bytes, so that a command with
 * as many, and the longest name, is below 64 KiB.
 */
export const MAX_ABSENT_RUNS = 4096;

/**
 * Encodes the payload: the counted name of the block, and for each run two numbers, lowest seven bits first
 * (LEB128): the pages since the end of the run before, for the first since the start of the block, and the
 * pages in it. So a gap of any size is a few bytes, and no page takes more than two, a quarter of a ZERO record,
 * unless pages are further apart than 512 KiB.
 *
 * @param block its name
 * @param runs of each run its first page, counted from the start of the block, and how many; in order
 * @throws {RangeError} when there is no run, more than {@linkcode MAX_ABSENT_RUNS}, or one that cannot be
 */
export function encodeAbsentPages(
  block: string,
  runs: readonly number[],
): Uint8Array {
  if (runs.length < 2 || runs.length % 2 !== 0 || runs.length > 2 * MAX_ABSENT_RUNS) {
    throw new RangeError(`Cannot encode that many numbers of absent pages: ${runs.length}`);
  }
  const name = encodeName(block);
  const writer = new ByteWriter();
  writer.u8(name.length);
  writer.bytes(name);
  let end = 0;
  for (let at = 0; at < runs.length; at += 2) {
    const first = runs[at]!;
    const count = runs[at + 1]!;
    if (!isNumber(first - end, 0) || !isNumber(count, 1)) {
      throw new RangeError(`Cannot encode a run of ${count} absent pages at ${first} after ${end}`);
    }
    writeLeb128(writer, first - end);
    writeLeb128(writer, count);
    end = first + count;
  }
  return writer.take();
}

/**
 * Decodes such a payload.
 *
 * @param length not 0
 * @param offset stream offset of the payload, for the error
 * @returns the block, and of each run its first page and how many
 * @throws {ProtocolError} when it is not such a payload
 */
export function decodeAbsentPages(
  bytes: Uint8Array,
  at: number,
  length: number,
  offset: number,
): { readonly block: string; readonly runs: readonly number[] } {
  const end = at + length;
  const nameEnd = at + 1 + bytes[at]!;
  if (nameEnd >= end) throw malformed(offset, `a name of ${bytes[at]} bytes in ${length}`);
  const block = decodeName(bytes.slice(at + 1, nameEnd), offset, "a RAM block");
  const runs: number[] = [];
  const numbers = new Leb128Reader(bytes, nameEnd, end);
  const number = (): number => {
    const value = numbers.next();
    if (value < 0) throw malformed(offset, "one that does not end");
    return value;
  };
  for (let page = 0; !numbers.over;) {
    page += number();
    const count = number();
    if (count === 0) throw malformed(offset, "a run of no page");
    runs.push(page, count);
    page += count;
  }
  return { block, runs };
}

function isNumber(value: number, least: number): boolean {
  return Number.isInteger(value) && value >= least && value <= MAX_LEB128;
}

function malformed(offset: number, found: string): ProtocolError {
  const expected = "a block name and runs of numbers of at most 5 bytes in ABSENT_PAGES";
  return new ProtocolError("bad-command", offset, expected, found);
}
