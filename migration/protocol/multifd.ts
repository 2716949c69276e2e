/**
 * The channels of the capability multifd: their codes, and what their packets say.
 *
 * The layout is that of recordings of QEMU 7.2 and 11.1 and of `docs/devel/migration/features.rst`; all
 * integers are big-endian.
 */

/** First four bytes of a channel, and of each of its packets. */
export const MULTIFD_MAGIC = 0x11223344;
/** The next four bytes. */
export const MULTIFD_VERSION = 1;

/** Bits of a packet's flags. */
export const MULTIFD_FLAG = {
  /** The channel waits, behind this packet's pages, for all others and for the main channel. */
  SYNC: 0x01,
  /** How its pages are compressed: {@linkcode MULTIFD_METHOD}. */
  METHOD: 0x3e,
  /** No pages: state of a device that iterates (VFIO), from 10.0 on. */
  DEVICE_STATE: 0x40,
} as const;

/** Values of the flags' bits for the method. */
export const MULTIFD_METHOD = {
  NONE: 0x00,
  ZLIB: 0x02,
  ZSTD: 0x04,
  QPL: 0x08,
  UADK: 0x10,
  QATZIP: 0x20,
} as const;
/** See {@linkcode MULTIFD_METHOD}. */
export type MultifdMethod = typeof MULTIFD_METHOD.NONE | 0x02 | 0x04;

/** What a channel says once, before its first packet. */
export const MULTIFD_INIT_BYTES = 64;
/** What stands before a packet's list of offsets. */
export const MULTIFD_HEAD_BYTES = 320;
/** Bytes of a block's name, filled up with zeros. */
export const MULTIFD_NAME_BYTES = 256;
/** Bytes of memory that a packet has room to name: so the list is as long for every packet of a machine. */
export const MULTIFD_PACKET_MEMORY = 512 * 1024;
/**
 * Ours: most bytes of a packet's compressed pages. Neither method makes 512 KiB longer by more than some
 * hundred bytes.
 */
export const MAX_MULTIFD_PAYLOAD = 1024 * 1024;
/** Channels that QEMU allows. */
export const MAX_MULTIFD_CHANNELS = 255;

/**
 * Offsets that a packet has room for.
 *
 * @param targetPageSize bytes
 */
export function multifdPages(targetPageSize: number): number {
  return MULTIFD_PACKET_MEMORY / targetPageSize;
}

/** A packet's header: the decoder's own, and another one's from the next packet on. */
export interface MultifdPacket {
  /** Whether the channel waits behind it. */
  readonly sync: boolean;
  /** How its pages are compressed; without pages it says nothing. */
  readonly method: MultifdMethod;
  /** Of what block its pages are; empty when there are none. The same name is the same string object. */
  readonly block: string;
  /** Pages whose content follows. */
  readonly normalPages: number;
  /** Pages that are zero. */
  readonly zeroPages: number;
  /** Bytes of content that follow, compressed or not. */
  readonly payloadBytes: number;
  /**
   * Where its pages lie, bytes from the start of the block, multiples of the target page size: first the
   * normal ones, then the zero ones.
   */
  readonly offsets: Float64Array;
}

/**
 * Receives what a channel says. `bytes` is valid during the call only. The decoder does not know how long the
 * receiver's blocks are: **the handler checks the offsets**.
 */
export interface MultifdHandler {
  /** True while it can take nothing more: the decoder stops behind what it gave last; default never. */
  readonly held?: boolean;
  /**
   * The channel's first words.
   *
   * @param id its number, from 0
   * @param uuid the source's machine, 16 bytes, all zero for one without
   */
  channel(id: number, uuid: Uint8Array): void;
  /** A packet begins. */
  packet(packet: MultifdPacket): void;
  /** Content of its pages: whole pages where they are not compressed, else any piece of it. */
  payload(bytes: Uint8Array, at: number, length: number): void;
  /** All of the packet has come. */
  packetEnd(): void;
}
