/** Pages that came compressed, between a stream and the memory that takes pages as they are. */

import { Unpacked } from "../../ffi/compression/codec.ts";
import { COMPRESSIBLE_PAGE_BYTES, type CompressionMethod } from "../../migration/compression.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { type RamBlock, RamLayout } from "../../migration/memory/ram_layout.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import type { AbsentPagesCommand } from "../../migration/protocol/command.ts";
import type { DiscardCommand } from "../../migration/protocol/discard.ts";
import { WorkRings } from "../../migration/threads/work_rings.ts";
import type { StreamMachine } from "../../migration/protocol/stream_machine.ts";
import { blockIndex, pageNumber } from "../incoming/page_number.ts";
import {
  type Decompression,
  decompressionShape,
  Figure,
  OWN_SLOTS,
  packedAt,
  pageAt,
  SlotWord,
} from "./decompression.ts";
import type { IncomingMemory, IncomingPages } from "../incoming/incoming_memory.ts";
import type { MainRounds } from "../multifd/main_rounds.ts";
import { ReaderDecompressor } from "./reader_decompressor.ts";
import type { ReceiveBuffer } from "../../channel/receive_buffer.ts";

/**
 * Pages of a burst that the reading thread decompresses itself before it wakes another: a page takes 2
 * to 20 us, waking a thread and being woken by it 14 to 140. A burst ends where the input does.
 */
export const FIRST_OF_BURST = 4;

/**
 * Gives compressed pages to the decompression threads and their results to the memory, all on the
 * thread that reads. Results come in any order; what must stay in order is held until all of them are
 * there, and all that comes behind it with it: another record of a page that is on its way, a discard,
 * LISTEN, the end.
 *
 * Nothing waits for a thread that is not there: while none has started, when all have enough to do,
 * and for what a thread left behind that failed, it decompresses itself. So it does where pages come
 * one by one, as those that were asked for do.
 */
export class DecompressingPages implements IncomingPages, Disposable {
  readonly #memory: IncomingMemory;
  readonly #buffer: ReceiveBuffer;
  readonly #begin: (method: CompressionMethod) => void;
  readonly #multifd: MainRounds | undefined;
  readonly #rings: WorkRings;
  readonly #words: Int32Array;
  readonly #figures: Float64Array;
  /** Where a request's page belongs, by slot. */
  readonly #blockOf: Uint32Array;
  readonly #offsetOf: Float64Array;
  /** Since which restart a slot's page is on its way. */
  readonly #generationOf: Uint32Array;
  #generation = 0;
  #method: CompressionMethod = "zlib";
  #begun = false;
  #here: ReaderDecompressor | undefined;
  #ownUsed = 0;
  #burst = 0;
  #pageSize = 0;
  #blocks: readonly RamBlock[] = [];
  #onTheirWay = new PageBitmap(0);
  #waiting = 0;
  #hostPageSizes: readonly number[] = [];
  #listening = false;
  // The huge page that a source is in the middle of: its block, and where it starts.
  #hugeBlock = -1;
  #hugeStart = -1;
  /** The stream's selected block, and the memory's: pages come back from the threads in between. */
  #selected = -1;
  #given = -1;
  /** What is done when all pages that came are in place. */
  #held: (() => void) | undefined;

  /**
   * @param memory where the pages go
   * @param buffer what the main channel is received into; the slots are behind it
   * @param shared what the decompression threads know
   * @param begin called once, when the pages' method is known: threads are wanted
   * @param multifd channels beside the main one: what must stay in order waits for their marks too
   */
  constructor(
    memory: IncomingMemory,
    buffer: ReceiveBuffer,
    shared: Decompression,
    begin: (method: CompressionMethod) => void,
    multifd?: MainRounds,
  ) {
    this.#memory = memory;
    this.#multifd = multifd;
    this.#buffer = buffer;
    this.#begin = begin;
    this.#rings = new WorkRings(decompressionShape(shared.threads), shared.rings);
    this.#words = this.#rings.words;
    this.#figures = new Float64Array(shared.figures);
    this.#blockOf = new Uint32Array(this.#rings.slots);
    this.#offsetOf = new Float64Array(this.#rings.slots);
    this.#generationOf = new Uint32Array(this.#rings.slots);
  }

  get whole(): boolean {
    return this.#memory.whole;
  }

  open(machine: StreamMachine): void {
    this.#memory.open(machine);
    this.#know(machine);
  }

  /**
   * Takes over from another that is no more, after LISTEN; the memory has done so.
   *
   * @param method how the pages are compressed, if some came so
   */
  adopt(machine: StreamMachine, method: CompressionMethod | undefined): void {
    this.#know(machine);
    this.#listening = true;
    if (method !== undefined) this.compressedBy(method);
  }

  compressedBy(method: CompressionMethod): void {
    this.#method = method;
    this.#start(); // they are ready when the first page comes
  }

  select(name: string): void {
    if (this.#blocks[this.#selected]?.name === name) return;
    this.#selected = blockIndex(this.#blocks, name);
  }

  page(offset: number, bytes: Uint8Array, at: number, address: number): void {
    if (this.#waiting > 0 && !this.#mayCome(offset)) {
      return this.settle(() => this.page(offset, bytes, at, address));
    }
    if (this.#given !== this.#selected) this.#give(this.#selected);
    this.#memory.page(offset, bytes, at, address);
  }

  zeroPage(offset: number): void {
    if (this.#waiting > 0 && !this.#mayCome(offset)) {
      return this.settle(() => this.zeroPage(offset));
    }
    if (this.#given !== this.#selected) this.#give(this.#selected);
    this.#memory.zeroPage(offset);
  }

  xbzrlePage(offset: number, bytes: Uint8Array, at: number, length: number): void {
    if (this.#waiting > 0 && !this.#mayCome(offset)) {
      return this.settle(() => this.xbzrlePage(offset, bytes, at, length));
    }
    if (this.#given !== this.#selected) this.#give(this.#selected);
    this.#memory.xbzrlePage(offset, bytes, at, length);
  }

  compressedPage(offset: number, bytes: Uint8Array, at: number, length: number): void {
    if (!this.#begun) this.#start();
    if (this.#pageSize !== COMPRESSIBLE_PAGE_BYTES) throw otherPageSize(this.#pageSize);
    const page = pageNumber(this.#blocks[this.#selected], offset, this.#pageSize);
    if (!this.#mayCome(offset)) {
      return this.settle(() => this.compressedPage(offset, bytes, at, length));
    }
    this.#figures[Figure.PAGES]!++;
    this.#figures[Figure.BYTES]! += length;
    const slot = this.#burst++ < FIRST_OF_BURST ? -1 : this.#reserve();
    if (slot < 0) return this.#decompressHere(offset, bytes, at, length);
    this.#buffer.keep(bytes, at, length, packedAt(slot));
    this.#words[this.#rings.at(slot) + SlotWord.LENGTH] = length;
    this.#blockOf[slot] = this.#selected;
    this.#offsetOf[slot] = offset;
    this.#generationOf[slot] = this.#generation;
    this.#onTheirWay.add(page);
    this.#waiting++;
    this.#rings.submit();
  }

  flush(): void {
    if (this.#waiting > 0) this.#collect();
    this.#flushMemory();
  }

  settled(): boolean {
    this.#burst = 0;
    const all = this.#allHere();
    this.#flushMemory();
    return all;
  }

  get held(): boolean {
    return this.#held !== undefined;
  }

  settle(then: () => void): void {
    if (this.#held !== undefined) throw new Error("Something is held: call resume() first");
    this.#held = then;
    this.resume();
  }

  resume(): boolean {
    if (!this.#allHere()) return false;
    this.#burst = 0;
    this.#flushMemory();
    const held = this.#held;
    this.#held = undefined;
    held?.();
    return this.#held === undefined;
  }

  discard(command: DiscardCommand): void {
    this.settle(() => this.#memory.discard(command));
  }

  absent(command: AbsentPagesCommand): void {
    this.settle(() => this.#memory.absent(command));
  }

  listen(): void {
    this.settle(() => {
      this.#memory.listen();
      this.#listening = true;
    });
  }

  restart(): void {
    // What is on its way still comes back from the threads, but belongs nowhere: the source sends it again.
    this.#generation++;
    this.#held = undefined;
    this.#burst = 0;
    this.#ownUsed = 0;
    this.#hugeBlock = -1;
    this.#hugeStart = -1;
    this.#selected = -1;
    this.#given = -1;
    this.#memory.restart();
  }

  /** Frees its contexts. */
  close(): void {
    this.#here?.close();
    this.#here = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #know({ blocks, targetPageSize }: StreamMachine): void {
    const sizes = blocks.map(({ name, usedLength }) => ({ name, usedLength }));
    const { blocks: known, pageLimit } = new RamLayout(sizes, targetPageSize);
    this.#blocks = known;
    this.#onTheirWay = new PageBitmap(pageLimit);
    this.#hostPageSizes = blocks.map(({ pageSize }) => pageSize ?? targetPageSize);
    this.#pageSize = targetPageSize;
  }

  #start(): void {
    if (this.#begun) return;
    this.#begun = true;
    this.#begin(this.#method);
  }

  /** Finds a slot of a thread that has room, or -1. */
  #reserve(): number {
    const rings = this.#rings;
    const slot = rings.reserve();
    if (slot >= 0 || rings.allBusy || !this.#collect()) return slot;
    return rings.reserve();
  }

  /** Whether a record of the selected block may be taken before those that are on their way. */
  #mayCome(offset: number): boolean {
    const page = pageNumber(this.#blocks[this.#selected], offset, this.#pageSize);
    // The later content is the one that counts; after LISTEN it is the earlier.
    if (this.#onTheirWay.has(page)) return false;
    if (!this.#listening) return true;
    const hostPageSize = this.#hostPageSizes[this.#selected]!;
    // A huge page is gathered: all of it, before any page that is not of it.
    if (hostPageSize === this.#pageSize && this.#hugeBlock < 0) return true;
    const start = offset - offset % hostPageSize;
    if (this.#hugeStart === start && this.#hugeBlock === this.#selected) return true;
    if (this.#waiting > 0) return false;
    this.#hugeStart = start;
    this.#hugeBlock = hostPageSize === this.#pageSize ? -1 : this.#selected;
    return true;
  }

  /**
   * Gives the memory all that has come; false when there is more on its way, for which the eventfd is
   * signalled then.
   */
  #allHere(): boolean {
    while (this.#waiting > 0) {
      if (this.#collect()) continue;
      // The threads are ended only after this one, so somebody finishes, or is buried.
      if (this.#rings.stopped) throw new MigrationError("CANCELLED", "Decompression was ended");
      if (this.#rings.requestWake()) return false;
    }
    return this.#multifd?.open ?? true;
  }

  /** Turns the memory to a block. */
  #give(block: number): void {
    this.#given = block;
    this.#memory.select(this.#blocks[block]!.name);
  }

  /**
   * Gives the memory what the threads have finished.
   *
   * @returns false when that is nothing
   */
  #collect(): boolean {
    const rings = this.#rings;
    const before = this.#waiting;
    for (let slot = rings.take(); slot >= 0; slot = rings.take()) {
      this.#put(slot, this.#words[rings.at(slot) + SlotWord.OUTCOME]! as Unpacked);
    }
    for (let slot = rings.abandoned(); slot >= 0; slot = rings.abandoned()) {
      const length = this.#words[rings.at(slot) + SlotWord.LENGTH]!;
      this.#figures[Figure.BY_READER]!++;
      this.#put(slot, this.#decompressor().unpackLeft(slot, length));
    }
    if (this.#waiting === before) return false;
    this.#flushMemory(); // an image is written from the slots
    rings.release();
    return true;
  }

  /** Gives the memory a page that was on its way. */
  #put(slot: number, outcome: Unpacked): void {
    const block = this.#blockOf[slot]!;
    const offset = this.#offsetOf[slot]!;
    this.#waiting--;
    this.#onTheirWay.take(this.#blocks[block]!.firstPage + offset / this.#pageSize);
    if (this.#generationOf[slot] === this.#generation) this.#place(block, offset, slot, outcome);
  }

  #place(block: number, offset: number, slot: number, outcome: Unpacked): void {
    if (outcome !== Unpacked.PAGE) throw this.#damaged(block, offset, outcome);
    if (this.#given !== block) this.#give(block);
    const buffer = this.#buffer;
    const at = buffer.keptAt + pageAt(slot);
    this.#memory.page(offset, buffer.bytes, at, buffer.address + at);
  }

  /** Decompresses a page of the selected block on this thread. */
  #decompressHere(offset: number, bytes: Uint8Array, at: number, length: number): void {
    if (this.#ownUsed === OWN_SLOTS) this.#flushMemory();
    const own = this.#ownUsed++;
    const slot = this.#rings.slots + own;
    this.#figures[Figure.BY_READER]!++;
    this.#buffer.keep(bytes, at, length, packedAt(slot));
    this.#place(this.#selected, offset, slot, this.#decompressor().unpack(own, length));
  }

  #decompressor(): ReaderDecompressor {
    return this.#here ??= new ReaderDecompressor(this.#method, this.#buffer, this.#rings.slots);
  }

  /** From here on nothing lies in the reader's own slots that the memory still needs. */
  #flushMemory(): void {
    this.#memory.flush();
    this.#ownUsed = 0;
  }

  #damaged(block: number, offset: number, outcome: Unpacked): MigrationError {
    const why = outcome === Unpacked.DAMAGED
      ? "it is damaged"
      : `it does not make ${this.#pageSize} bytes`;
    const { name } = this.#blocks[block]!;
    return new MigrationError(
      "BAD_PEER",
      `Page of RAM block ${name} at ${offset} cannot be decompressed (${this.#method}): ${why}`,
    );
  }
}

function otherPageSize(size: number): MigrationError {
  return new MigrationError(
    "UNSUPPORTED",
    `Compressed pages of other sizes than ${COMPRESSIBLE_PAGE_BYTES} bytes are not supported, turn ` +
      `compression off at the source: ${size}`,
  );
}
