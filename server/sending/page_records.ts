/** Batches of page records, sent straight from where the pages lie. */

import { Gather } from "../../ffi/gather.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { ELEMENT, RECORD } from "../../migration/protocol/constants.ts";
import { encodeName } from "../../migration/protocol/names.ts";
import {
  MAX_RECORD_HEADER_BYTES,
  writeRecordHeader,
} from "../../migration/protocol/record_header.ts";
import type { RamBlock, RamLayout } from "../../migration/memory/ram_layout.ts";
import type { PageLocator } from "../../pages/page_locator.ts";

/** A record's header and a compressed page's length; a zero page's fill byte is shorter. */
const LARGEST_RECORD_HEAD = MAX_RECORD_HEADER_BYTES + 4;
/** A section's type and id, its records for multifd and for its end, its footer. */
const SECTION_BYTES = 5 + 8 + 8 + 5;

/**
 * Builds a batch of RAM page records of one channel (QEMU's `ram` records, docs/protocol.md section
 * 1.3). Heads are written into an arena, pages stay where they are; the batch is a list of pieces for
 * one `sendmsg`. Remembers the channel's last block for the CONTINUE flag. Allocates nothing per page.
 */
export class PageRecords implements Disposable {
  /** The pieces of the batch. */
  readonly gather: Gather;
  readonly #layout: RamLayout;
  readonly #locator: PageLocator;
  readonly #names: readonly Uint8Array[];
  readonly #arena: MappedMemory;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #limit: number;
  #cursor = 0;
  #pieceStart = 0;
  #pageBytes = 0;
  #pages = 0;
  #zeroPages = 0;
  #compressedPages = 0;
  #lastBlock: RamBlock | undefined;

  /**
   * @param layout the blocks
   * @param locator where the pages lie
   * @param pages most pages in a batch
   */
  constructor(layout: RamLayout, locator: PageLocator, pages: number) {
    this.#layout = layout;
    this.#locator = locator;
    this.#names = layout.blocks.map((block) => encodeName(block.name));
    this.gather = new Gather(Math.min(1024, pages * 2 + 4));
    this.#limit = pages;
    this.#arena = MappedMemory.anonymous(pages * 16 + 16 * LARGEST_RECORD_HEAD);
    this.#bytes = this.#arena.bytes();
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Data pages in the batch. */
  get pages(): number {
    return this.#pages;
  }

  /** Zero pages in the batch. */
  get zeroPages(): number {
    return this.#zeroPages;
  }

  /** Pages in the batch, of whatever kind. */
  get length(): number {
    return this.#pages + this.#zeroPages + this.#compressedPages;
  }

  /** Bytes of the batch on the wire. */
  get byteLength(): number {
    return this.#cursor + this.#pageBytes;
  }

  /** True when another page may not fit. */
  get full(): boolean {
    return this.length >= this.#limit ||
      this.#cursor + LARGEST_RECORD_HEAD + SECTION_BYTES > this.#arena.length;
  }

  /** Starts an empty batch. */
  begin(): void {
    this.gather.clear();
    this.#cursor = 0;
    this.#pieceStart = 0;
    this.#pageBytes = 0;
    this.#pages = 0;
    this.#zeroPages = 0;
    this.#compressedPages = 0;
  }

  /** Opens a section of the main channel. */
  openSection(type: number, id: number): void {
    this.#bytes[this.#cursor] = type;
    this.#view.setUint32(this.#cursor + 1, id);
    this.#cursor += 5;
  }

  /** Adds the record that ends a section's records, and on the preempt channel of QEMU 7.2 the channel. */
  endRecords(): void {
    this.#view.setUint32(this.#cursor, 0);
    this.#view.setUint32(this.#cursor + 4, RECORD.END_OF_SECTION);
    this.#cursor += 8;
  }

  /** Adds the record by which a destination waits for the multifd channels. */
  addMultifdFlush(): void {
    this.#view.setUint32(this.#cursor, 0);
    this.#view.setUint32(this.#cursor + 4, RECORD.MULTIFD_FLUSH);
    this.#cursor += 8;
  }

  /** Ends the records of a section and closes it. */
  closeSection(id: number): void {
    this.endRecords();
    this.#bytes[this.#cursor] = ELEMENT.SECTION_FOOTER;
    this.#view.setUint32(this.#cursor + 1, id);
    this.#cursor += 5;
  }

  /** Adds the byte that ends the stream. */
  endStream(): void {
    this.#bytes[this.#cursor++] = ELEMENT.EOF;
  }

  /** Returns where a page lies, or 0 when it is zero: see {@linkcode PageLocator.locate}. */
  locate(page: number): number {
    return this.#locator.locate(page);
  }

  /** Copies a page: see {@linkcode PageLocator.copy}. */
  copy(address: number, words: Int32Array, index: number): void {
    this.#locator.copy(address, words, index);
  }

  /** Adds a page as it is, which the caller has claimed. */
  add(page: number): void {
    const address = this.#locator.locate(page);
    if (address === 0) this.addZero(page);
    else this.addNormal(page, address);
  }

  /** Adds a zero page. */
  addZero(page: number): void {
    this.#writeHeader(page, RECORD.ZERO);
    this.#bytes[this.#cursor++] = 0;
    this.#zeroPages++;
  }

  /**
   * Adds a page as it is.
   *
   * @param address where its content lies until the batch is sent
   */
  addNormal(page: number, address: number): void {
    this.#writeHeader(page, RECORD.PAGE);
    this.#addPiece(address, this.#layout.targetPageSize);
    this.#pages++;
  }

  /**
   * Adds a compressed page.
   *
   * @param address where its compressed form lies until the batch is sent
   * @param length bytes of that
   */
  addCompressed(page: number, address: number, length: number): void {
    this.#writeHeader(page, RECORD.COMPRESS_PAGE);
    this.#view.setUint32(this.#cursor, length);
    this.#cursor += 4;
    this.#addPiece(address, length);
    this.#compressedPages++;
  }

  /** Ends the batch: its pieces are complete. */
  end(): void {
    this.#closePiece();
  }

  /** Frees the arena. Closing again does nothing. */
  close(): void {
    this.#arena.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #writeHeader(page: number, flag: number): void {
    const block = this.#layout.blockOf(page);
    const offset = (page - block.firstPage) * this.#layout.targetPageSize;
    const name = block === this.#lastBlock ? undefined : this.#nameOf(block);
    this.#lastBlock = block;
    this.#cursor = writeRecordHeader(this.#bytes, this.#cursor, offset, flag, name);
  }

  #addPiece(address: number, length: number): void {
    this.#closePiece();
    this.gather.add(address, length);
    this.#pageBytes += length;
  }

  #nameOf(block: RamBlock): Uint8Array {
    return this.#names[this.#layout.blocks.indexOf(block)]!;
  }

  #closePiece(): void {
    if (this.#cursor === this.#pieceStart) return;
    this.gather.add(this.#arena.address + this.#pieceStart, this.#cursor - this.#pieceStart);
    this.#pieceStart = this.#cursor;
  }
}
