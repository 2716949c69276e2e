/** What the index of a captured stream keeps beside the table, as JSON. */

import type { PageCounts } from "../image.ts";
import type { StreamContents } from "../stream/stream_contents.ts";

/** What the index keeps of a capture. */
export interface IndexedContents extends StreamContents {
  /** Page counts of each block. */
  readonly counts: readonly PageCounts[];
}

/** Writes contents for the index. */
export function encodeContents(contents: IndexedContents): Uint8Array {
  const text = JSON.stringify(
    contents,
    (key, value) => key === "uuid" ? Array.from(value as Uint8Array) : value,
  );
  return new TextEncoder().encode(text);
}

/** Reads what {@linkcode encodeContents} wrote; the caller has seen that the checksum is right. */
export function decodeContents(bytes: Uint8Array): IndexedContents {
  return JSON.parse(
    new TextDecoder().decode(bytes),
    (key, value) => key === "uuid" ? Uint8Array.from(value as number[]) : value,
  );
}
