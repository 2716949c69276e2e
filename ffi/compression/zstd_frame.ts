/** What is known of zstd's frames outside of the libraries (RFC 8878, section 3.1). */

// Of ZSTD_cParameter in zstd.h.
/** The level that a context compresses with. */
export const COMPRESSION_LEVEL = 100;
/** Whether a frame ends in a checksum of its content. */
export const CHECKSUM_FLAG = 201;

/** Frame_Header_Descriptor, behind the magic number. */
const DESCRIPTOR = 4;
/** Content_Checksum_flag in it. */
const CHECKED = 1 << 2;

/**
 * Reports whether a frame of zstd with a checksum begins here, the only kind that a page travels in: in
 * any other damage could go unnoticed. Skippable frames and the formats before 0.8 begin otherwise.
 */
export function isCheckedFrame(bytes: Uint8Array, length: number): boolean {
  return length > DESCRIPTOR && bytes[0] === 0x28 && bytes[1] === 0xb5 && bytes[2] === 0x2f &&
    bytes[3] === 0xfd && (bytes[DESCRIPTOR]! & CHECKED) !== 0;
}

/** Bytes of a skippable frame's header. */
export const SKIPPABLE_HEADER_BYTES = 8;

/**
 * Makes everything from `at` to the end a skippable frame (section 3.1.2: magic number 0x184D2A5?, the
 * length of what follows, both little-endian).
 *
 * @param at at least {@linkcode SKIPPABLE_HEADER_BYTES} before the end
 */
export function writeSkippableFrame(bytes: Uint8Array, at: number): void {
  const content = bytes.length - at - SKIPPABLE_HEADER_BYTES;
  bytes[at] = 0x50;
  bytes[at + 1] = 0x2a;
  bytes[at + 2] = 0x4d;
  bytes[at + 3] = 0x18;
  bytes[at + 4] = content & 0xff;
  bytes[at + 5] = (content >> 8) & 0xff;
  bytes[at + 6] = (content >> 16) & 0xff;
  bytes[at + 7] = content >>> 24;
}
