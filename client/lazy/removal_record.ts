/** What a process has removed from its memory, in a memfd that outlives the server. */

import { FaultReader, MESSAGE_BYTES, UffdEvent } from "../../ffi/fault_reader.ts";
import { hostPageSize, MappedMemory, viewMemory } from "../../ffi/memory.ts";
import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RegionMap } from "./region_map.ts";

/** Messages taken by one read. */
const MESSAGES = 64;
/** Where the bitmap begins: behind the messages, on a page of its own. */
const BITMAP_OFFSET = 4096;

/** Bytes of a record for so many pages. */
function recordBytes(pageCount: number): number {
  const bytes = BITMAP_OFFSET + Math.ceil(pageCount / 32) * 4;
  return Math.ceil(bytes / hostPageSize()) * hostPageSize();
}

/** Makes the memory of a new record: nothing was removed. */
export function newRecord(pageCount: number): MappedMemory {
  return MappedMemory.memfd(recordBytes(pageCount), "postcopy-removed");
}

/**
 * Maps the record of a server that is gone.
 *
 * @param fd its memfd, which may be closed afterwards
 */
export function takenRecord(fd: number, pageCount: number): MappedMemory {
  return MappedMemory.alias(fd, recordBytes(pageCount));
}

/**
 * The bitmap of a record: what was removed, by the pages' numbers.
 *
 * @param address of the record's memory, owned elsewhere
 */
export function removedPages(address: number, pageCount: number): PageBitmap {
  const words = Math.ceil(pageCount / 32);
  // Memory that processes share and no SharedArrayBuffer: atomic operations do not care.
  const buffer = viewMemory(address + BITMAP_OFFSET, words * 4).buffer as unknown;
  return new PageBitmap(words * 32, buffer as SharedArrayBuffer);
}

/**
 * Reads the events of a userfaultfd, and keeps which pages were removed: they are zero from then on, whatever
 * the image says, also when they are removed again.
 *
 * To read the message of a removal lets the thread go on that removed. A server that dies behind that read
 * must not have forgotten it: so messages are read into the record itself. Whoever takes it over looks at
 * those read last once more; to note a removal twice changes nothing.
 */
export class RemovalRecord {
  readonly #map: RegionMap;
  readonly #reader: FaultReader;
  readonly #removed: PageBitmap;

  /**
   * @param fd the userfaultfd, owned elsewhere
   * @param map the regions
   * @param address of the record's memory, from {@linkcode newRecord}, owned elsewhere
   */
  constructor(fd: number, map: RegionMap, address: number) {
    this.#map = map;
    this.#reader = new FaultReader(fd, MESSAGES, viewMemory(address, MESSAGES * MESSAGE_BYTES));
    this.#removed = removedPages(address, map.pageCount);
    for (let message = 0; message < MESSAGES; message++) this.note(message, () => {});
  }

  /** Messages that one read takes at most. */
  get capacity(): number {
    return MESSAGES;
  }

  /** Takes the messages that are there: how many, or the negated errno (`-EAGAIN`: none). */
  read(): number {
    return this.#reader.read();
  }

  /** True when a message is a page fault. */
  isPageFault(message: number): boolean {
    return this.#reader.isPageFault(message);
  }

  /** The address that was touched, of a page fault. */
  address(message: number): number {
    return this.#reader.address(message);
  }

  /** What a message tells, one of `UffdEvent`. */
  event(message: number): number {
    return this.#reader.event(message);
  }

  /**
   * Notes a removal, if a message is one.
   *
   * @param visit called with the pages that are gone, first and count
   */
  note(message: number, visit: (first: number, count: number) => void): void {
    const event = this.#reader.event(message);
    if (event !== UffdEvent.REMOVE && event !== UffdEvent.UNMAP) return;
    const start = this.#reader.rangeStart(message);
    this.#map.eachRun(start, this.#reader.rangeEnd(message), (first, count) => {
      this.#removed.fill(first, count);
      visit(first, count);
    });
  }

  /** Whether a page was removed: it is zero. */
  has(page: number): boolean {
    return this.#removed.has(page);
  }

  /** The first removed page from one on and before another, or -1. */
  next(from: number, to: number): number {
    return this.#removed.next(from, to);
  }

  /** The first page from one on and before another that was not removed, or -1. */
  nextKept(from: number, to: number): number {
    return this.#removed.nextClear(from, to);
  }
}
