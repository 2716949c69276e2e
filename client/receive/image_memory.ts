/** The memory of an incoming migration, put into a mapped-ram file. */

import type { OutputFile } from "../../ffi/file.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import type { CompressionMethod } from "../../migration/compression.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamBlock } from "../../migration/memory/ram_layout.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import type { AbsentPagesCommand } from "../../migration/protocol/command.ts";
import type { DiscardCommand } from "../../migration/protocol/discard.ts";
import { decodeXbzrle } from "../../migration/protocol/xbzrle.ts";
import type { StreamMachine } from "../../migration/protocol/stream_machine.ts";
import { takeAbsentRuns } from "../incoming/absent_pages.ts";
import type { IncomingMemory } from "../incoming/incoming_memory.ts";
import { blockIndex, pageNumber } from "../incoming/page_number.ts";
import { ReceivedBitmaps } from "../return_path/received_bitmaps.ts";
import { MappedRamWriter, type OnWriteError } from "../../image/mapped_ram/mapped_ram_writer.ts";
import type { PartialImage } from "../../image/mapped_ram/partial_image.ts";
import { partialMark } from "../../image/mapped_ram/partial_mark.ts";
import { Counter, type ReceiveState } from "./receive_state.ts";

/** Pages decoded before they are written with one call. */
const DECODED_PAGES = 64;

/** What another receiver left behind the switch. */
export type WholeFrame = PartialImage & Required<Pick<PartialImage, "tail">>;

/** What those share who write one image. */
export interface SharedImage {
  /** Whose memory it is. */
  readonly machine: StreamMachine;
  /** Shared memory of the bitmap of pages that came. */
  readonly came: SharedArrayBuffer;
  /** Shared memory of the bitmap of pages with content. */
  readonly content: SharedArrayBuffer;
  /** Shared memory of the bitmap of pages that the source took back. */
  readonly missing: SharedArrayBuffer;
}

/** Where decoded pages lie until they are written. */
interface DecodedPages {
  readonly memory: MappedMemory;
  readonly pages: readonly Uint8Array<ArrayBuffer>[];
}

/**
 * Keeps account of every page: which came, which have content, which the source took back. A zero
 * page is a page without content, whatever the file held of it before.
 */
export class ImageMemory implements IncomingMemory, Disposable {
  readonly #file: OutputFile;
  readonly #state: ReceiveState;
  readonly #onError: OnWriteError;
  #writer: MappedRamWriter | undefined;
  #shared: SharedImage | undefined;
  #pageSize = 0;
  #came = new PageBitmap(0);
  #content = new PageBitmap(0);
  #missing = new PageBitmap(0);
  #listening = false;
  #decoded: DecodedPages | undefined;
  #decodedCount = 0;
  #block: RamBlock | undefined;
  #index = -1;

  /**
   * @param file new and empty, or adopted; stays the caller's
   * @param state gets the figures
   * @param onError called when something cannot be written
   */
  constructor(file: OutputFile, state: ReceiveState, onError?: OnWriteError) {
    this.#file = file;
    this.#state = state;
    this.#onError = onError ?? (() => false);
  }

  /** Index of the block that the pages which follow are of; -1 for none. Each channel has its own. */
  get selected(): number {
    return this.#index;
  }

  set selected(index: number) {
    this.#index = index;
    this.#block = this.#writer?.layout.ram.blocks[index];
  }

  /** Pages that the source has discarded and not sent again. */
  get missing(): number {
    return this.#state.get(Counter.MISSING);
  }

  /** Whether every page of every block has come. */
  get whole(): boolean {
    return this.#state.get(Counter.RECEIVED) === this.#state.get(Counter.PAGES);
  }

  open(machine: StreamMachine): void {
    this.#begin(machine);
  }

  /**
   * Takes over a file that another receiver left after LISTEN. None of its pages counts as received: which
   * of them the disk has, nobody knows.
   */
  adopt({ machine, tail }: WholeFrame): void {
    this.#begin(machine, tail);
    this.#listening = true;
    this.#missAll();
  }

  /** What others need that write pages of the same image, on other threads, once it is open. */
  get shared(): SharedImage {
    return this.#shared!;
  }

  /** Writes pages of an image that another has opened: before LISTEN, and none that it writes meanwhile. */
  join(shared: SharedImage): void {
    this.#use(
      shared.machine,
      new MappedRamWriter(this.#file, shared.machine, this.#onError, undefined, true),
      shared,
    );
  }

  #begin(machine: StreamMachine, tail?: Uint8Array<ArrayBuffer>): void {
    const writer = new MappedRamWriter(this.#file, machine, this.#onError, tail);
    this.#use(machine, writer);
    this.#state.set(Counter.PAGES, writer.layout.ram.pageCount);
    this.#state.set(Counter.PAGE_SIZE, this.#pageSize);
  }

  #use(machine: StreamMachine, writer: MappedRamWriter, known?: SharedImage): void {
    this.#writer = writer;
    this.#pageSize = machine.targetPageSize;
    const { pageLimit } = writer.layout.ram;
    this.#came = new PageBitmap(pageLimit, known?.came);
    this.#content = new PageBitmap(pageLimit, known?.content);
    this.#missing = new PageBitmap(pageLimit, known?.missing);
    this.#shared = {
      machine,
      came: this.#came.buffer,
      content: this.#content.buffer,
      missing: this.#missing.buffer,
    };
  }

  select(name: string): void {
    if (this.#block?.name === name) return;
    const { ram } = this.#opened().layout;
    this.selected = blockIndex(ram.blocks, name);
  }

  page(offset: number, _bytes: Uint8Array, _at: number, address: number): void {
    const page = this.#arrive(offset);
    if (page < 0) return;
    if (this.#content.add(page)) this.#state.add(Counter.DATA, 1);
    this.#writer!.page(this.#index, offset, address);
  }

  zeroPage(offset: number): void {
    const page = this.#arrive(offset);
    if (page >= 0 && this.#content.take(page)) this.#state.add(Counter.DATA, -1);
  }

  xbzrlePage(offset: number, bytes: Uint8Array, at: number, length: number): void {
    if (this.#listening) {
      throw new MigrationError("BAD_PEER", "Source sent an XBZRLE page after LISTEN");
    }
    const page = this.#arrive(offset);
    const place = this.#place();
    const into = this.#decoded!.pages[place]!;
    if (this.#content.has(page)) this.#writer!.read(this.#index, offset, into);
    else into.fill(0);
    decodeXbzrle(into, bytes, at, length);
    this.#putDecoded(page, offset, place);
  }

  flush(): void {
    if (this.#writer === undefined) return;
    this.#writer.flush();
    this.#decodedCount = 0;
    this.#state.set(Counter.WRITTEN_BYTES, this.#writer.written);
  }

  restart(): void {
    this.flush();
    this.selected = -1;
  }

  /** Index of a block that is here, by its name; see {@linkcode blockIndex}. */
  indexOf(name: string): number {
    return blockIndex(this.#opened().layout.ram.blocks, name);
  }

  /** The receive bitmaps: what the file has, once nothing is held back. */
  receivedBitmaps(): ReceivedBitmaps {
    return new ReceivedBitmaps(this.#opened().layout.ram, this.#came);
  }

  discard({ block: name, ranges }: DiscardCommand): void {
    const block = this.#opened().layout.ram.find(name);
    if (block === undefined) {
      throw new MigrationError("BAD_PEER", `Discard in an unknown RAM block: ${name}`);
    }
    for (const { start, length } of ranges) {
      const pages = length / this.#pageSize;
      const first = block.firstPage + start / this.#pageSize;
      if (
        !Number.isInteger(pages) || !Number.isInteger(first) || start + length > block.usedLength
      ) {
        throw new MigrationError(
          "BAD_PEER",
          `Discard outside RAM block ${name}: ${length} bytes at ${start}`,
        );
      }
      this.#state.add(Counter.RECEIVED, -this.#came.count(first, pages));
      this.#state.add(Counter.DATA, -this.#content.count(first, pages));
      this.#came.clear(first, pages);
      this.#content.clear(first, pages);
      this.#state.add(Counter.MISSING, this.#missing.fill(first, pages));
    }
  }

  /** They are holes, as zero pages are that came. */
  absent(command: AbsentPagesCommand): void {
    takeAbsentRuns(this.#opened().layout.ram, command, (first, count) => {
      this.#state.add(Counter.RECEIVED, this.#came.fill(first, count));
      this.#state.add(Counter.MISSING, -this.#missing.count(first, count));
      this.#missing.clear(first, count);
    });
  }

  listen(): void {
    this.#listening = true;
  }

  /** Writes what follows the memory; see {@linkcode MappedRamWriter.writeTail}. */
  writeTail(tail: Uint8Array<ArrayBuffer>): void {
    this.#opened().writeTail(tail);
  }

  /** Makes the file one that can be taken up; see {@linkcode MappedRamWriter.mark}. */
  mark(method: CompressionMethod | undefined): boolean {
    return this.#opened().mark(partialMark(method));
  }

  /** The disk has lost pages, nobody knows which: all of them are to come again. */
  startOver(method: CompressionMethod | undefined): void {
    this.flush();
    this.#opened().startOver(partialMark(method));
    this.#missAll();
  }

  /** Whether something could not be written and waits for {@linkcode ImageMemory.retry}. */
  get holdsBack(): boolean {
    return this.#writer?.holdsBack ?? false;
  }

  /** Tries to write what is held back; see {@linkcode MappedRamWriter.retry}. */
  retry(): void {
    this.#opened().retry();
  }

  /** Makes the file complete; see {@linkcode MappedRamWriter.seal}. */
  seal(): boolean {
    this.flush();
    return this.#opened().seal(this.#content);
  }

  /** Frees its buffers. */
  close(): void {
    this.#decoded?.memory.close();
    this.#decoded = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #missAll(): void {
    const { blocks, pageCount } = this.#opened().layout.ram;
    for (const block of blocks) {
      this.#came.clear(block.firstPage, block.pageCount);
      this.#content.clear(block.firstPage, block.pageCount);
      this.#missing.fill(block.firstPage, block.pageCount);
    }
    this.#state.set(Counter.RECEIVED, 0);
    this.#state.set(Counter.DATA, 0);
    this.#state.set(Counter.MISSING, pageCount);
  }

  #opened(): MappedRamWriter {
    if (this.#writer === undefined) {
      throw new MigrationError("BAD_PEER", "Memory before the list of RAM blocks");
    }
    return this.#writer;
  }

  /** Counts a page in; returns its number, or -1 for one that must not replace what is there. */
  #arrive(offset: number): number {
    const page = pageNumber(this.#block, offset, this.#pageSize);
    if (this.#came.add(page)) {
      this.#state.add(Counter.RECEIVED, 1);
      if (this.#missing.take(page)) this.#state.add(Counter.MISSING, -1);
    } else if (this.#listening) {
      this.#state.add(Counter.DUPLICATES, 1);
      return -1;
    }
    return page;
  }

  /** Finds room for a page to be decoded. */
  #place(): number {
    this.#decoded ??= decodedPages(this.#pageSize);
    if (this.#decodedCount === DECODED_PAGES) this.flush();
    return this.#decodedCount++;
  }

  #putDecoded(page: number, offset: number, place: number): void {
    if (this.#content.add(page)) this.#state.add(Counter.DATA, 1);
    const address = this.#decoded!.memory.address + place * this.#pageSize;
    this.#writer!.page(this.#index, offset, address);
  }
}

function decodedPages(pageSize: number): DecodedPages {
  const memory = MappedMemory.anonymous(DECODED_PAGES * pageSize);
  const pages = Array.from(
    { length: DECODED_PAGES },
    (_, index) => memory.bytes(index * pageSize, pageSize),
  );
  return { memory, pages };
}
