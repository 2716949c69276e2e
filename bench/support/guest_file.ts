/** Files that hold memory as a guest's, for QEMU's memory-backend-file. */

import { guestPage, guestPageKind, PAGES_IN_RUN } from "./guest_content.ts";

const PAGE_BYTES = 4096;
const PAGE_WORDS = PAGE_BYTES / 4;

/** What was written. */
export interface GuestFile {
  /** Bytes of the file. */
  readonly bytes: number;
  /** Bytes of pages that are not zero; the others are holes. */
  readonly data: number;
}

/**
 * Writes the content of {@linkcode guestPage} to a file, which is replaced. Zero pages become holes:
 * they take no room, and are read as zeros. 1 GiB takes some two seconds, for which this thread does
 * nothing else.
 *
 * @param path where to write
 * @param bytes of the file, a multiple of 4096
 * @param seed of the content
 * @throws {RangeError} for a size that is no positive multiple of 4096
 */
export function writeGuestFile(path: string, bytes: number, seed: number): GuestFile {
  if (!Number.isSafeInteger(bytes) || bytes <= 0 || bytes % PAGE_BYTES !== 0) {
    throw new RangeError(`Size of guest memory is no positive multiple of ${PAGE_BYTES}: ${bytes}`);
  }
  using file = Deno.openSync(path, { write: true, create: true, truncate: true });
  file.truncateSync(bytes);
  const words = new Int32Array(PAGES_IN_RUN * PAGE_WORDS);
  const room = new Uint8Array(words.buffer);
  const pages = bytes / PAGE_BYTES;
  let data = 0;
  for (let first = 0; first < pages; first += PAGES_IN_RUN) {
    if (guestPageKind(first, seed) === "zero") continue; // as all of its run
    const count = Math.min(PAGES_IN_RUN, pages - first);
    for (let index = 0; index < count; index++) {
      guestPage(first + index, seed, words, index * PAGE_WORDS);
    }
    file.seekSync(first * PAGE_BYTES, Deno.SeekMode.Start);
    const end = count * PAGE_BYTES;
    for (let at = 0; at < end;) at += file.writeSync(room.subarray(at, end));
    data += end;
  }
  return { bytes, data };
}
