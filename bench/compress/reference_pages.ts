/** How pages get into batches with the reference model, in the place of the product's CompressingPages. */

import type { MappedMemory } from "../../ffi/memory.ts";
import { SLOT_BYTES } from "../../migration/compression.ts";
import { MOST_BUSY } from "../../server/sending/compressing_pages.ts";
import type { CompressionCounters } from "../../server/compression/compression_counters.ts";
import type { PageRecords } from "../../server/sending/page_records.ts";
import type { NextAct, PageSaver } from "../../server/sending/page_saver.ts";
import { ReferenceDispatcher } from "./reference_dispatcher.ts";

/** What the saver is made from. */
export interface ReferencePagesInit {
  /** Threads that compress. */
  readonly threads: number;
  /** Shared memory of the model. */
  readonly buffer: SharedArrayBuffer;
  /** A slot of {@linkcode SLOT_BYTES} for each thread, and the rest to keep a batch's pages in. */
  readonly memory: MappedMemory;
  /** Whether a page waits for a thread when all are busy; else it is sent as it is. */
  readonly wait: boolean;
  /** Bytes of a target page. */
  readonly pageSize: number;
}

/**
 * Gives pages to the threads one by one, and sleeps where it waits: its thread has no other migration. What a thread made is copied behind the batch's other pages
 * before the thread gets its next one: so it goes out when its thread is given another page, or at the
 * end of the round.
 */
export class ReferencePages implements PageSaver {
  readonly #records: PageRecords;
  readonly #counters: CompressionCounters;
  readonly #init: ReferencePagesInit;
  readonly #dispatcher: ReferenceDispatcher;
  readonly #bytes: Uint8Array;
  /** Where the batch's pages begin, and where the next one goes. */
  readonly #batch: number;
  #next: number;
  /** Pages in the batch that no thread was free for. */
  #busy = 0;

  /**
   * @param records the channel's batch
   * @param counters what becomes of the pages
   * @param init the threads
   */
  constructor(records: PageRecords, counters: CompressionCounters, init: ReferencePagesInit) {
    this.#records = records;
    this.#counters = counters;
    this.#init = init;
    const take = (thread: number, page: number, bytes: number) => this.#add(thread, page, bytes);
    this.#dispatcher = new ReferenceDispatcher(init.threads, init.buffer, take);
    this.#bytes = init.memory.bytes();
    this.#next = this.#batch = init.threads * SLOT_BYTES;
  }

  get outstanding(): number {
    return this.#dispatcher.outstanding;
  }

  /** None: it sleeps by itself. */
  readonly wakeFd = -1;

  prepare(): NextAct {
    // The product's rule: the engine around the models is the same.
    if (this.#busy >= MOST_BUSY) return "send";
    return this.#records.full ? "send" : "save"; // what a thread made, or the page as it is
  }

  save(page: number): void {
    const address = this.#records.locate(page);
    if (address === 0) {
      this.#records.addZero(page);
    } else if (!this.#dispatcher.handOver(page, address, this.#init.wait)) {
      this.#busy++;
      this.#counters.addBusy();
      this.#records.addNormal(page, address);
    }
  }

  settle(): boolean {
    this.#dispatcher.flush(() => !this.#records.full);
    return true;
  }

  sent(): void {
    this.#next = this.#batch;
    this.#busy = 0;
  }

  /** Ends the threads. */
  stop(): void {
    this.#dispatcher.stop();
  }

  /** Copies a thread's output out of its slot into the batch. */
  #add(thread: number, page: number, bytes: number): void {
    const { pageSize, memory } = this.#init;
    const slot = thread * SLOT_BYTES;
    const from = bytes === 0 ? slot : slot + pageSize;
    const length = bytes === 0 ? pageSize : bytes;
    this.#bytes.copyWithin(this.#next, from, from + length);
    const address = memory.address + this.#next;
    this.#next += length;
    if (bytes === 0) {
      this.#counters.addIncompressible();
      this.#records.addNormal(page, address);
    } else {
      this.#counters.addCompressed(bytes);
      this.#records.addCompressed(page, address, bytes);
    }
  }
}
