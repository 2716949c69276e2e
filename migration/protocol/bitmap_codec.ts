/**
 * A block's bitmap of pages, as a recovering destination sends it (docs/protocol.md section 2) and as a
 * mapped-ram file holds it (docs/protocol.md section 6): bit i of byte i/8, lowest first, is target
 * page i; the size is rounded up to 64 bits.
 */

/** Bytes of the bitmap of a block of `pages` target pages. */
export function bitmapBytes(pages: number): number {
  return Math.ceil(pages / 64) * 8;
}

/**
 * The 32-bit words of a bitmap, as `migration/memory` keeps them: bit i of word i/32 is page i.
 *
 * @param bytes A whole bitmap.
 * @param words Receives it; at least a quarter as many words as `bytes` has bytes.
 * @param first Index of the first word to write.
 */
export function bitmapToWords(bytes: Uint8Array, words: Uint32Array, first = 0): void {
  for (let at = 0; at < bytes.length; at += 4) {
    words[first + (at >>> 2)] = bytes[at]! | ((bytes[at + 1] ?? 0) << 8) |
      ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24);
  }
}

/**
 * The bitmap of a block of `pages` pages, from 32-bit words as {@linkcode bitmapToWords} writes them.
 *
 * Bits of the last word behind the block are left out.
 */
export function bitmapFromWords(
  words: Uint32Array,
  pages: number,
  first = 0,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(bitmapBytes(pages));
  for (let page = 0; page < pages; page += 8) {
    const word = words[first + (page >>> 5)]!;
    const left = pages - page;
    const mask = left >= 8 ? 0xff : (1 << left) - 1;
    bytes[page >>> 3] = (word >>> (page & 31)) & mask;
  }
  return bytes;
}
