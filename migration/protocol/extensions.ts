/**
 * What two ends of this project may do beyond QEMU's protocol, and how they agree on it.
 *
 * The source's first PING has the value {@linkcode EXTENSION_COOKIE}. QEMU answers it with the PONG
 * alone. An end of ours first sends the message EXTENSIONS, which lists what it understands, and then
 * the PONG. A source that goes on to use one of them says so with the command EXTENSIONS before its
 * first page. What was not listed by both is not used.
 */

import { MAX_NAME_BYTES } from "./constants.ts";
import { decodeName, encodeName } from "./names.ts";
import { ProtocolError, type ProtocolErrorCode } from "./protocol_error.ts";

/** Value of the PING that asks for extensions: "PCPY". */
export const EXTENSION_COOKIE = 0x5043_5059;

/** The extensions there are, by their names on the wire. */
export const EXTENSION = {
  /** COMPRESS_PAGE records hold a zstd frame (RFC 8878) in place of a zlib stream. */
  ZSTD: "zstd",
  /** COMPRESS_PAGE records may follow LISTEN on the main channel beside a preempt channel. */
  COMPRESS_POSTCOPY: "compress-postcopy",
  /** The command ABSENT_PAGES names pages that are zero and never sent: absent_pages.ts. */
  ABSENT_PAGES: "absent-pages",
  /** That command may also follow pages, of which it names none. */
  ABSENT_BEHIND_PAGES: "absent-behind-pages",
} as const;

/** What the name begins with by which a destination lists how many channels of multifd it expects. */
export const MULTIFD_EXTENSION = "multifd-channels:";

/** That name, for so many channels. */
export function multifdExtension(channels: number): string {
  return `${MULTIFD_EXTENSION}${channels}`;
}

/** The name by which a destination lists that it will approve the switchover: switchover_ack.ts. */
export const APPROVAL_EXTENSION = "switchover-ack";

/** What this version understands. */
export const EXTENSIONS: readonly string[] = Object.values(EXTENSION);

/**
 * Encodes a list of extensions: the payload of the message and of the command, counted names one
 * after the other.
 *
 * @throws {RangeError} when a name is empty or longer than 255 bytes
 */
export function encodeExtensions(names: readonly string[]): Uint8Array {
  const encoded = names.map(encodeName);
  const bytes = new Uint8Array(encoded.reduce((sum, name) => sum + 1 + name.length, 0));
  let at = 0;
  for (const name of encoded) {
    bytes[at] = name.length;
    bytes.set(name, at + 1);
    at += 1 + name.length;
  }
  return bytes;
}

/**
 * Decodes such a list.
 *
 * @param offset Position of the payload in its stream, for the error.
 * @param code What a malformed list is.
 * @param channel Where it came, for the error; by default the migration stream.
 * @throws {ProtocolError} When a name reaches beyond the end, is empty or not UTF-8.
 */
export function decodeExtensions(
  bytes: Uint8Array,
  at: number,
  length: number,
  offset: number,
  code: ProtocolErrorCode,
  channel?: string,
): string[] {
  const names: string[] = [];
  const end = at + length;
  for (let next = at; next < end;) {
    const nameEnd = next + 1 + bytes[next]!;
    const position = offset + next - at;
    if (nameEnd > end) {
      const room = `an extension's name of at most ${
        Math.min(end - next - 1, MAX_NAME_BYTES)
      } bytes`;
      throw new ProtocolError(code, position, room, `one of ${bytes[next]} bytes`, channel);
    }
    names.push(decodeName(bytes.slice(next + 1, nameEnd), position, "an extension", channel));
    next = nameEnd;
  }
  return names;
}
