/** How the file of an image begins that can be taken up again. */

import type { CompressionMethod } from "../../migration/compression.ts";

/** In place of QEMU's magic and version, and as long; behind it the pages' compression. */
const MARK = new TextEncoder().encode("PCPart1");

/** What stands in the mark's last byte for the compression of the pages that are to come. */
const METHODS: readonly (CompressionMethod | undefined)[] = [undefined, "zlib", "zstd"];

/**
 * Returns the first bytes of a file that lacks pages only: where its source has switched to postcopy, and
 * all else has come.
 *
 * @param method how the source compresses, if it does
 */
export function partialMark(method: CompressionMethod | undefined): Uint8Array<ArrayBuffer> {
  return new Uint8Array([...MARK, METHODS.indexOf(method)]);
}

/** Whether a file that starts so has the mark. */
export function hasPartialMark(head: Uint8Array): boolean {
  return head.length > MARK.length && MARK.every((byte, index) => head[index] === byte);
}

/** How the source of a file with the mark compresses; undefined when it does not. */
export function markedMethod(head: Uint8Array): CompressionMethod | undefined {
  return METHODS[head[MARK.length]!];
}
