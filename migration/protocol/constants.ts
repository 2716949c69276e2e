/**
 * Codes and limits of QEMU's migration stream, version 3.
 *
 * The codes are those of QEMU's documents `docs/devel/migration/main.rst`, `postcopy.rst` and
 * `mapped-ram.rst` and of recordings of real QEMU; the section numbers are those of docs/protocol.md.
 * All integers on the wire are big-endian unless said otherwise.
 */

/** First four bytes of the main channel: "QEVM" (section 1.1). */
export const STREAM_MAGIC = 0x5145564d;
/** The stream's version, the next four bytes. */
export const STREAM_VERSION = 3;

/** First byte of an element of the main channel (section 1.1). */
export const ELEMENT = {
  EOF: 0x00,
  SECTION_START: 0x01,
  SECTION_PART: 0x02,
  SECTION_END: 0x03,
  SECTION_FULL: 0x04,
  SUBSECTION: 0x05,
  VM_DESCRIPTION: 0x06,
  CONFIGURATION: 0x07,
  COMMAND: 0x08,
  SECTION_FOOTER: 0x7e,
} as const;

/** Flags in the low bits of a RAM record's first word (section 1.3). */
export const RECORD = {
  ZERO: 0x002,
  MEM_SIZE: 0x004,
  PAGE: 0x008,
  END_OF_SECTION: 0x010,
  /** Modifier: same block as the previous record of this channel, no name follows. */
  CONTINUE: 0x020,
  XBZRLE: 0x040,
  COMPRESS_PAGE: 0x100,
  MULTIFD_FLUSH: 0x200,
} as const;

/** Name and version of the one iterable section this protocol looks into. */
export const RAM_SECTION = { NAME: "ram", VERSION: 4 } as const;

/** What stands behind a block's entry in a mapped-ram file: version, page size and two offsets (section 6). */
export const MAPPED_REGION = { VERSION: 1, HEADER_BYTES: 4 + 3 * 8 } as const;

/** Byte between an XBZRLE record's header and its length: the only encoding there is. */
export const XBZRLE_ENCODING = 0x01;

/** Commands of the main channel (section 1.4). */
export const COMMAND = {
  OPEN_RETURN_PATH: 1,
  PING: 2,
  POSTCOPY_ADVISE: 3,
  POSTCOPY_LISTEN: 4,
  POSTCOPY_RUN: 5,
  POSTCOPY_RAM_DISCARD: 6,
  PACKAGED: 7,
  ENABLE_COLO: 8,
  POSTCOPY_RESUME: 9,
  RECEIVE_BITMAP: 10,
  SWITCHOVER_START: 11,
  /** Ours, and only for a peer that listed extensions: extensions.ts. */
  EXTENSIONS: 0x5043,
  /** Ours, for a peer that listed `absent-pages`: absent_pages.ts. */
  ABSENT_PAGES: 0x5044,
} as const;

/** Messages of the return path (section 2). */
export const MESSAGE = {
  SHUT: 1,
  PONG: 2,
  REQUEST_PAGES_NAMED: 3,
  REQUEST_PAGES: 4,
  RECEIVED_BITMAP: 5,
  RESUME_ACK: 6,
  SWITCHOVER_ACK: 7,
  /** Ours, and only for a peer that asked for extensions: extensions.ts. */
  EXTENSIONS: 0x5043,
} as const;

/** Last eight bytes of a receive bitmap's transfer, as two words (section 2). */
export const BITMAP_END = { HIGH: 0x01234567, LOW: 0x89abcdef } as const;

/** Capabilities that change the block list and are named in the configuration (section 1.2). */
export const CAPABILITY = { IGNORE_SHARED: "x-ignore-shared", MAPPED_RAM: "mapped-ram" } as const;

/** Page size of x86 and of most aarch64 guests, bytes. */
export const DEFAULT_TARGET_PAGE_SIZE = 4096;
/** QEMU's targets have pages of 2^10 (old Arm) to 2^16 bytes. */
export const TARGET_PAGE_BITS = { MIN: 10, MAX: 16 } as const;

/** Ranges QEMU's source puts in one POSTCOPY_RAM_DISCARD at most (section 1.4). */
export const MAX_DISCARD_RANGES = 12;
/** A return-path message's payload is this long at most: the size of QEMU's buffer (section 2). */
export const MAX_MESSAGE_BYTES = 512;

/** Counted strings have a length of one byte. */
export const MAX_NAME_BYTES = 255;
/** Ours: QEMU's machine names are under 40 bytes. */
export const MAX_MACHINE_BYTES = 255;
/** Ours: QEMU 11.1 names two capabilities at most. */
export const MAX_CAPABILITIES = 64;
/** Ours: bounds the block list, whose end the peer decides; QEMU guests have tens of blocks. */
export const MAX_BLOCKS = 4096;
/** Ours: a package holds a few hundred KiB; what QEMU allows is 4 GiB. For receivers that gather it. */
export const MAX_PACKAGE_BYTES = 512 * 1024 * 1024;

/**
 * No element that has to lie in one piece is longer: a command with 65535 bytes, a page of 64 KiB with
 * its header. A buffer of this size is always enough for `decode` to get on.
 */
export const MAX_ELEMENT_BYTES = 128 * 1024;
