/** The memory that is moved: as a guest's, without its zero pages. */

import { createHash } from "node:crypto";
import { GUEST_SHARES, guestPage, guestPageKind } from "../support/guest_content.ts";

const PAGE_BYTES = 4096;
const PIECE = 1 << 20;

/** What the pages hold, for a table's caption. */
export function contentText(): string {
  const { zero, ...others } = GUEST_SHARES;
  const all = 100 - zero;
  return Object.entries(others).map(([kind, share]) => `${kind} ${Math.round(share / all * 100)} %`)
    .join(", ");
}

/**
 * Writes a file of such pages.
 *
 * @param bytes a multiple of 4096
 */
export function writeContent(path: string, bytes: number, seed = 1): void {
  using file = Deno.createSync(path);
  const words = new Int32Array(PIECE / 4);
  const room = new Uint8Array(words.buffer);
  let index = 0;
  for (let left = bytes; left > 0;) {
    const length = Math.min(PIECE, left);
    for (let at = 0; at < length; at += PAGE_BYTES) {
      while (guestPageKind(index, seed) === "zero") index++;
      guestPage(index++, seed, words, at / 4);
    }
    for (let at = 0; at < length;) at += file.writeSync(room.subarray(at, length));
    left -= length;
  }
}

/** A digest of memory that is read by pieces. */
export class MemoryDigest {
  readonly #hash = createHash("sha1");

  /** Adds the next bytes. */
  add(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  /** The digest, hexadecimal; nothing may be added any more. */
  end(): string {
    return this.#hash.digest("hex");
  }
}
