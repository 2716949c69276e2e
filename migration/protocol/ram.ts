/** What RAM records say, for those who receive or send them. */

/**
 * Where a block's bitmap and pages lie in a mapped-ram file (docs/protocol.md section 6; QEMU
 * docs/devel/migration/mapped-ram.rst).
 */
export interface MappedRegion {
  /** Format version; QEMU writes 1. */
  readonly version: number;
  /** Bytes a bitmap bit stands for. */
  readonly pageSize: number;
  /** Absolute file offset of the bitmap: 64-bit words in the byte order of the host that wrote it. */
  readonly bitmapOffset: number;
  /** Absolute file offset of page 0; page i lies at `pagesOffset + i * pageSize`. */
  readonly pagesOffset: number;
}

/** One RAM block of the block list (MEM_SIZE record, docs/protocol.md section 1.3). */
export interface BlockEntry {
  /** Name, unique in a migration: `pc.ram`, `0000:00:01.0/vga.vram`, ... */
  readonly name: string;
  /** Bytes of the block that exist and are migrated. */
  readonly usedLength: number;
  /** Host page size in bytes; present only for blocks of huge pages in a migration with postcopy. */
  readonly pageSize?: number;
  /** Present only with the capability `x-ignore-shared`. */
  readonly guestPhysicalAddress?: number;
  /** Present only with the capability `mapped-ram`. */
  readonly mapped?: MappedRegion;
}

/**
 * Receives RAM records, from the sections of the main channel or from the preempt channel.
 *
 * `bytes` belongs to whoever called `decode`: it is valid during the call only. Offsets are in bytes
 * from the start of the block, multiples of the target page size, exact below 2^53. The decoder does
 * not know how long the receiver's blocks are: **the handler checks the offset**.
 */
export interface RamHandler {
  /** True while it can take nothing more: the decoder stops behind what it gave last; default never. */
  readonly held?: boolean;
  /** The records that follow are of this block, until the next call. The same name is the same string object. */
  block(name: string): void;
  /** A page as it is: the target page's bytes are `bytes[at .. at + targetPageSize)`. */
  page(offset: number, bytes: Uint8Array, at: number): void;
  /** A page of one repeated byte; QEMU sends only 0 and since 10.0 accepts only 0. */
  zeroPage(offset: number, fill: number): void;
  /** A page as the difference to its previous content; see {@linkcode decodeXbzrle}. */
  xbzrlePage(offset: number, bytes: Uint8Array, at: number, length: number): void;
  /** A page compressed by zlib (QEMU before 9.1); see {@linkcode inflatePage}. */
  compressedPage(offset: number, bytes: Uint8Array, at: number, length: number): void;
  /** The block list begins; `total` bytes is the sum of the used lengths of the entries that follow. */
  blockList(total: number): void;
  /** One entry of the block list. */
  blockEntry(entry: BlockEntry): void;
  /** Raw bytes of a mapped-ram file that follow a block's entry (bitmap, hole, pages), in pieces, in order. */
  mappedRegion(bytes: Uint8Array, at: number, length: number): void;
  /** The source asks to wait for the multifd channels (8.1 and later). */
  multifdFlush(): void;
  /** End of this section's records; on the preempt channel (7.2) the end of the channel. */
  endOfSection(): void;
}
