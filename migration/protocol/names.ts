/** Counted names, and one string object for each. */

import { MAX_NAME_BYTES } from "./constants.ts";
import { ProtocolError } from "./protocol_error.ts";

// ignoreBOM: a name that begins with a byte order mark keeps it, so that names encode to what they were.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

const SLOTS = 64;

/**
 * Turns a name's bytes into a string, the same string object for the same bytes as long as its slot is
 * not taken by another name: a name that precedes every page costs no allocation. The table does not
 * grow, so a peer that sends ever new names costs nothing but time.
 */
export class NameTable {
  readonly #names: (string | undefined)[] = new Array(SLOTS).fill(undefined);
  readonly #bytes: Uint8Array[] = new Array(SLOTS).fill(new Uint8Array(0));
  readonly #channel: string | undefined;

  /** @param channel Where the names come, for errors; by default the migration stream. */
  constructor(channel?: string) {
    this.#channel = channel;
  }

  /**
   * The name at `bytes[at .. at + length)`, which the caller knows to be there.
   *
   * @param offset Position of the bytes in the stream, for the error.
   * @param what What the name is of, for the error.
   * @throws {ProtocolError} When the name is empty or is not UTF-8.
   */
  intern(bytes: Uint8Array, at: number, length: number, offset: number, what: string): string {
    let hash = length;
    for (let i = 0; i < length; i++) hash = (Math.imul(hash, 31) + bytes[at + i]!) | 0;
    const slot = (hash ^ (hash >>> 16)) & (SLOTS - 1);
    const known = this.#bytes[slot]!;
    const name = this.#names[slot];
    if (name !== undefined && sameBytes(known, bytes, at, length)) return name;
    const copy = bytes.slice(at, at + length);
    const decoded = decodeName(copy, offset, what, this.#channel);
    this.#bytes[slot] = copy;
    this.#names[slot] = decoded;
    return decoded;
  }
}

/**
 * The string of a counted name.
 *
 * @param channel Where it came, for the error; by default the migration stream.
 * @throws {ProtocolError} When the name is empty or is not UTF-8.
 */
export function decodeName(
  bytes: Uint8Array,
  offset: number,
  what: string,
  channel?: string,
): string {
  if (bytes.length === 0) {
    throw new ProtocolError("bad-name", offset, `a name of ${what}`, "an empty string", channel);
  }
  try {
    return decoder.decode(bytes);
  } catch {
    throw new ProtocolError("bad-name", offset, `${what} named in UTF-8`, "other bytes", channel);
  }
}

/**
 * The bytes of a name as the stream carries them, without the count.
 *
 * @throws {RangeError} When the name is empty or longer than a counted string can be.
 */
export function encodeName(name: string): Uint8Array {
  const bytes = encoder.encode(name);
  if (bytes.length === 0 || bytes.length > MAX_NAME_BYTES) {
    throw new RangeError(
      `Cannot encode a name of ${bytes.length} bytes, use 1 to ${MAX_NAME_BYTES}: ${name}`,
    );
  }
  return bytes;
}

function sameBytes(known: Uint8Array, bytes: Uint8Array, at: number, length: number): boolean {
  if (known.length !== length) return false;
  for (let i = 0; i < length; i++) if (known[i] !== bytes[at + i]) return false;
  return true;
}
