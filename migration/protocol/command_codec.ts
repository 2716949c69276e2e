/** Commands of the main channel as bytes. */

import { decodeAbsentPages, encodeAbsentPages } from "./absent_pages.ts";
import { readU32, readU64 } from "./byte_order.ts";
import type { ByteWriter } from "./byte_writer.ts";
import type { Command } from "./command.ts";
import { COMMAND, ELEMENT } from "./constants.ts";
import { decodeDiscard, encodeDiscard } from "./discard.ts";
import { decodeExtensions, encodeExtensions } from "./extensions.ts";
import { decodeName, encodeName } from "./names.ts";
import { hex, ProtocolError } from "./protocol_error.ts";

/** Bytes of a COMMAND element before its payload: type, code, length. */
export const COMMAND_HEAD_BYTES = 5;

const EMPTY: Readonly<Record<number, Command>> = {
  [COMMAND.OPEN_RETURN_PATH]: { kind: "open-return-path" },
  [COMMAND.POSTCOPY_LISTEN]: { kind: "listen" },
  [COMMAND.POSTCOPY_RUN]: { kind: "run" },
  [COMMAND.ENABLE_COLO]: { kind: "enable-colo" },
  [COMMAND.POSTCOPY_RESUME]: { kind: "resume" },
  [COMMAND.SWITCHOVER_START]: { kind: "switchover-start" },
};

const EMPTY_CODES: Readonly<Record<string, number>> = {
  "open-return-path": COMMAND.OPEN_RETURN_PATH,
  "listen": COMMAND.POSTCOPY_LISTEN,
  "run": COMMAND.POSTCOPY_RUN,
  "enable-colo": COMMAND.ENABLE_COLO,
  "resume": COMMAND.POSTCOPY_RESUME,
  "switchover-start": COMMAND.SWITCHOVER_START,
};

/**
 * The payload lengths a command may have (docs/protocol.md section 1.4), as text for errors; undefined
 * when unknown.
 */
function lengthRule(code: number): readonly [least: number, most: number] | undefined {
  if (EMPTY[code] !== undefined) return [0, 0];
  switch (code) {
    case COMMAND.PING:
    case COMMAND.PACKAGED:
      return [4, 4];
    case COMMAND.POSTCOPY_ADVISE:
      return [0, 16];
    case COMMAND.POSTCOPY_RAM_DISCARD:
      return [1 + 2 + 1 + 16, 0xffff];
    case COMMAND.RECEIVE_BITMAP:
      return [2, 256];
    case COMMAND.EXTENSIONS:
      return [0, 512];
    case COMMAND.ABSENT_PAGES:
      return [1 + 1 + 2, 0xffff];
  }
  return undefined;
}

/**
 * Checks a command's code and length before its payload is waited for.
 *
 * @param offset Stream offset of the element.
 * @throws {ProtocolError} When neither QEMU nor this project knows the command or takes a payload of that length.
 */
export function checkCommandHead(code: number, length: number, offset: number): void {
  const rule = lengthRule(code);
  if (rule === undefined) {
    throw new ProtocolError(
      "bad-command",
      offset,
      "a command from 1 to 11, or one of the extensions",
      `${code}`,
    );
  }
  const advise = code === COMMAND.POSTCOPY_ADVISE;
  if (length < rule[0] || length > rule[1] || (advise && length !== 0 && length !== 16)) {
    throw new ProtocolError(
      "bad-command",
      offset,
      `command ${code} with a payload of ${rule[0]} ${advise ? "or" : "to"} ${rule[1]} bytes`,
      `${length} bytes`,
    );
  }
}

/**
 * Decodes the payload of a command whose head was checked; PACKAGED is not one of them.
 *
 * @param offset Stream offset of the payload.
 * @throws {ProtocolError} When the payload is not one of that command.
 */
export function decodeCommand(
  code: number,
  bytes: Uint8Array,
  at: number,
  length: number,
  offset: number,
): Command {
  switch (code) {
    case COMMAND.PING:
      return { kind: "ping", value: readU32(bytes, at) };
    case COMMAND.POSTCOPY_ADVISE: {
      if (length === 0) return { kind: "advise" };
      const pageSizeSummary = readU64(bytes, at);
      const targetPageSize = readU64(bytes, at + 8);
      if (!Number.isSafeInteger(pageSizeSummary) || !Number.isSafeInteger(targetPageSize)) {
        throw new ProtocolError(
          "bad-command",
          offset,
          "page sizes below 2^53 in POSTCOPY_ADVISE",
          `${hex(pageSizeSummary)} and ${hex(targetPageSize)}`,
        );
      }
      return { kind: "advise", ram: { pageSizeSummary, targetPageSize } };
    }
    case COMMAND.POSTCOPY_RAM_DISCARD:
      return decodeDiscard(bytes, at, length, offset);
    case COMMAND.RECEIVE_BITMAP: {
      if (bytes[at]! !== length - 1) {
        throw new ProtocolError(
          "bad-command",
          offset,
          `a block name of ${length - 1} bytes in RECEIVE_BITMAP`,
          `one of ${bytes[at]} bytes`,
        );
      }
      const name = bytes.slice(at + 1, at + length);
      return { kind: "receive-bitmap", block: decodeName(name, offset, "a RAM block") };
    }
    case COMMAND.EXTENSIONS: {
      const names = decodeExtensions(bytes, at, length, offset, "bad-command");
      return { kind: "extensions", names };
    }
    case COMMAND.ABSENT_PAGES:
      return { kind: "absent-pages", ...decodeAbsentPages(bytes, at, length, offset) };
  }
  const empty = EMPTY[code];
  if (empty === undefined) throw new RangeError(`Cannot decode command: ${code}`);
  return empty;
}

/**
 * Appends a COMMAND element.
 *
 * @throws {RangeError} When a value does not fit its field, or a discard has more ranges than one
 * command can hold.
 */
export function encodeCommand(writer: ByteWriter, command: Command): void {
  switch (command.kind) {
    case "ping":
      head(writer, COMMAND.PING, 4);
      writer.u32(command.value);
      return;
    case "advise":
      head(writer, COMMAND.POSTCOPY_ADVISE, command.ram === undefined ? 0 : 16);
      if (command.ram !== undefined) {
        writer.u64(command.ram.pageSizeSummary);
        writer.u64(command.ram.targetPageSize);
      }
      return;
    case "discard": {
      const payload = encodeDiscard(command.block, command.ranges);
      head(writer, COMMAND.POSTCOPY_RAM_DISCARD, payload.length);
      writer.bytes(payload);
      return;
    }
    case "receive-bitmap": {
      const name = encodeName(command.block);
      head(writer, COMMAND.RECEIVE_BITMAP, 1 + name.length);
      writer.u8(name.length);
      writer.bytes(name);
      return;
    }
    case "extensions": {
      const payload = encodeExtensions(command.names);
      head(writer, COMMAND.EXTENSIONS, payload.length);
      writer.bytes(payload);
      return;
    }
    case "absent-pages": {
      const payload = encodeAbsentPages(command.block, command.runs);
      head(writer, COMMAND.ABSENT_PAGES, payload.length);
      writer.bytes(payload);
      return;
    }
    default:
      head(writer, EMPTY_CODES[command.kind]!, 0);
  }
}

/**
 * Appends the PACKAGED command; `length` bytes of package must follow.
 *
 * @throws {RangeError} When `length` does not fit 32 bits.
 */
export function encodePackagedHead(writer: ByteWriter, length: number): void {
  if (!Number.isInteger(length) || length < 0 || length > 0xffff_ffff) {
    throw new RangeError(`Cannot encode a package of other than 0 to 2^32 - 1 bytes: ${length}`);
  }
  head(writer, COMMAND.PACKAGED, 4);
  writer.u32(length);
}

function head(writer: ByteWriter, code: number, length: number): void {
  writer.u8(ELEMENT.COMMAND);
  writer.u16(code);
  writer.u16(length);
}
