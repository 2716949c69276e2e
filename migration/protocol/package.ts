/** The package of a switchover to postcopy, taken apart and put together. */

import { readU16 } from "./byte_order.ts";
import { ByteWriter } from "./byte_writer.ts";
import type { Command } from "./command.ts";
import {
  checkCommandHead,
  COMMAND_HEAD_BYTES,
  decodeCommand,
  encodeCommand,
} from "./command_codec.ts";
import { COMMAND, ELEMENT } from "./constants.ts";
import { hex, ProtocolError } from "./protocol_error.ts";

/** What a PACKAGED command carries (docs/protocol.md section 3.1). */
export interface Package {
  /** Commands before the device state: LISTEN. */
  readonly before: readonly Command[];
  /** SECTION_FULL elements one after the other; opaque, see `device_state.ts`. */
  readonly devices: Uint8Array;
  /** Commands after the device state: PING 3, PING 0x42 (10.2 and later), RUN. */
  readonly after: readonly Command[];
}

const FOOTER_BYTES = 5;
const PING_BYTES = COMMAND_HEAD_BYTES + 4;

/**
 * Takes a package apart without knowing the devices: its commands are found from both ends.
 *
 * Going backwards is exact, because a section's footer (0x7e and an id) cannot be the tail of a
 * command without payload or of a PING, the commands that QEMU ends a package with.
 *
 * @param bytes The whole package.
 * @returns `devices` is a view of `bytes`.
 * @throws {ProtocolError} When it holds something else; offsets are from the package's start.
 */
export function splitPackage(bytes: Uint8Array): Package {
  const before: Command[] = [];
  let start = 0;
  while (start < bytes.length && bytes[start] === ELEMENT.COMMAND) {
    if (bytes.length - start < COMMAND_HEAD_BYTES) throw truncated(start);
    const code = readU16(bytes, start + 1);
    const length = readU16(bytes, start + 3);
    checkCommandHead(code, length, start);
    const payload = start + COMMAND_HEAD_BYTES;
    if (bytes.length - payload < length) throw truncated(start);
    if (code === COMMAND.PACKAGED) {
      throw bad(start, "no package inside a package", "PACKAGED");
    }
    before.push(decodeCommand(code, bytes, payload, length, payload));
    start = payload + length;
  }
  const after: Command[] = [];
  let end = bytes.length;
  while (end > start) {
    const command = commandBefore(bytes, start, end);
    if (command === undefined) break;
    after.unshift(command.command);
    end = command.start;
  }
  if (end > start) {
    if (bytes[start] !== ELEMENT.SECTION_FULL) {
      throw bad(start, "device state or a command", hex(bytes[start]!));
    }
    if (end - start < FOOTER_BYTES || bytes[end - FOOTER_BYTES] !== ELEMENT.SECTION_FOOTER) {
      throw bad(end, "a section footer before the commands at the package's end", "none");
    }
  }
  return { before, devices: bytes.subarray(start, end), after };
}

/**
 * Puts a package together.
 *
 * @returns What PACKAGED carries, without the command itself.
 */
export function joinPackage(parts: Package): Uint8Array {
  const writer = new ByteWriter(parts.devices.length + 256);
  for (const command of parts.before) encodeCommand(writer, command);
  writer.bytes(parts.devices);
  for (const command of parts.after) encodeCommand(writer, command);
  return writer.take();
}

/** The command without payload, or the PING, that ends right before `end`. */
function commandBefore(
  bytes: Uint8Array,
  start: number,
  end: number,
): { command: Command; start: number } | undefined {
  for (const length of [COMMAND_HEAD_BYTES, PING_BYTES]) {
    const at = end - length;
    if (at < start || bytes[at] !== ELEMENT.COMMAND) continue;
    const code = readU16(bytes, at + 1);
    const payload = readU16(bytes, at + 3);
    if (COMMAND_HEAD_BYTES + payload !== length || code < 1 || code > 11) continue;
    const fits = length === PING_BYTES ? code === COMMAND.PING : !NOT_EMPTY.includes(code);
    if (!fits) continue;
    const payloadAt = at + COMMAND_HEAD_BYTES;
    return { command: decodeCommand(code, bytes, payloadAt, payload, payloadAt), start: at };
  }
  return undefined;
}

/** Commands whose payload is never empty, or whose empty form has no place at a package's end. */
const NOT_EMPTY: readonly number[] = [
  COMMAND.PING,
  COMMAND.POSTCOPY_ADVISE,
  COMMAND.POSTCOPY_RAM_DISCARD,
  COMMAND.PACKAGED,
  COMMAND.RECEIVE_BITMAP,
];

function truncated(offset: number): ProtocolError {
  return new ProtocolError("truncated", offset, "a whole command", "the package's end", "package");
}

function bad(offset: number, expected: string, found: string): ProtocolError {
  return new ProtocolError("bad-package", offset, expected, found, "package");
}
