/** The command that makes a destination forget pages, as bytes. */

import { readU64, writeU64 } from "./byte_order.ts";
import type { Command, DiscardRange } from "./command.ts";
import { MAX_DISCARD_RANGES } from "./constants.ts";
import { decodeName, encodeName } from "./names.ts";
import { hex, ProtocolError } from "./protocol_error.ts";

/** The only version of the payload there is (docs/protocol.md section 1.4). */
const VERSION = 0;
const RANGE_BYTES = 16;

/** A POSTCOPY_RAM_DISCARD command. */
export type DiscardCommand = Extract<Command, { kind: "discard" }>;

/**
 * Splits the ranges of one block into commands of as many ranges as QEMU's source sends.
 *
 * @returns No command for no range.
 */
export function discardCommands(
  block: string,
  ranges: readonly DiscardRange[],
): DiscardCommand[] {
  const commands: DiscardCommand[] = [];
  for (let at = 0; at < ranges.length; at += MAX_DISCARD_RANGES) {
    commands.push({ kind: "discard", block, ranges: ranges.slice(at, at + MAX_DISCARD_RANGES) });
  }
  return commands;
}

/**
 * Decodes the payload: version, counted block name, a zero byte, ranges of start and length.
 *
 * @param length At least the shortest payload's.
 * @param offset Stream offset of the payload.
 * @throws {ProtocolError} When it is not such a payload.
 */
export function decodeDiscard(
  bytes: Uint8Array,
  at: number,
  length: number,
  offset: number,
): DiscardCommand {
  const nameLength = bytes[at + 1]!;
  const rangeBytes = length - 3 - nameLength;
  const wellFormed = bytes[at] === VERSION && rangeBytes >= RANGE_BYTES &&
    rangeBytes % RANGE_BYTES === 0 && bytes[at + 2 + nameLength] === 0;
  if (!wellFormed) {
    throw new ProtocolError(
      "bad-command",
      offset,
      "version 0, a block name, a zero byte and ranges of 16 bytes in POSTCOPY_RAM_DISCARD",
      `version ${bytes[at]}, a name of ${nameLength} bytes and ${rangeBytes} bytes more`,
    );
  }
  const name = bytes.slice(at + 2, at + 2 + nameLength);
  const block = decodeName(name, offset + 1, "a RAM block");
  const ranges: DiscardRange[] = [];
  for (let range = at + 3 + nameLength; range < at + length; range += RANGE_BYTES) {
    const start = readU64(bytes, range);
    const rangeLength = readU64(bytes, range + 8);
    if (rangeLength === 0 || !Number.isSafeInteger(start + rangeLength)) {
      throw new ProtocolError(
        "bad-command",
        offset + range - at,
        "a range to discard that is not empty and ends below 2^53",
        `${hex(rangeLength)} bytes at ${hex(start)}`,
      );
    }
    ranges.push({ start, length: rangeLength });
  }
  return { kind: "discard", block, ranges };
}

/**
 * Encodes the payload. QEMU's source sends no more than {@linkcode MAX_DISCARD_RANGES} in one: see
 * {@linkcode discardCommands}.
 *
 * @throws {RangeError} When there is no range, or more than the command's length can say.
 */
export function encodeDiscard(block: string, ranges: readonly DiscardRange[]): Uint8Array {
  const name = encodeName(block);
  const length = 3 + name.length + ranges.length * RANGE_BYTES;
  if (ranges.length < 1 || length > 0xffff) {
    throw new RangeError(`Cannot encode that many ranges in a command: ${ranges.length}`);
  }
  const payload = new Uint8Array(length);
  payload[0] = VERSION;
  payload[1] = name.length;
  payload.set(name, 2);
  let at = 3 + name.length;
  for (const { start, length } of ranges) {
    if (start < 0 || length < 1 || !Number.isSafeInteger(start + length)) {
      throw new RangeError(`Cannot discard a range outside 0 to 2^53 - 1: ${length} at ${start}`);
    }
    writeU64(payload, at, start);
    writeU64(payload, at + 8, length);
    at += RANGE_BYTES;
  }
  return payload;
}
