/** What became of the pages that were to be compressed. */

import { SharedLayout } from "../../migration/threads/shared_layout.ts";

const layout = new SharedLayout();
const Slot = layout.numbers("PAGES", "BYTES", "BUSY", "INCOMPRESSIBLE", "FAILED");

/** Counters of compression; the thread that sends the main channel alone writes them, any may read. */
export class CompressionCounters {
  /** Bytes of shared memory. */
  static readonly BYTES: number = layout.bytes;

  readonly #slots: Float64Array;

  /**
   * @param buffer shared memory
   * @param offset bytes from its start, a multiple of 8
   */
  constructor(buffer: SharedArrayBuffer, offset: number) {
    this.#slots = new Float64Array(buffer, offset, CompressionCounters.BYTES / 8);
  }

  /** Counts a page sent compressed, and the bytes that it takes so. */
  addCompressed(bytes: number): void {
    this.#slots[Slot.PAGES]!++;
    this.#slots[Slot.BYTES]! += bytes;
  }

  /** Counts a page sent as it is because no thread was free. */
  addBusy(): void {
    this.#slots[Slot.BUSY]!++;
  }

  /** Counts a page sent as it is because it does not shrink by an eighth. */
  addIncompressible(): void {
    this.#slots[Slot.INCOMPRESSIBLE]!++;
  }

  /** Counts a page sent as it is because the library failed on it, or its thread died. */
  addFailed(): void {
    this.#slots[Slot.FAILED]!++;
  }

  /** Pages sent compressed. */
  get pages(): number {
    return this.#slots[Slot.PAGES]!;
  }

  /** Bytes of these pages on the wire, without the records' heads. */
  get bytes(): number {
    return this.#slots[Slot.BYTES]!;
  }

  /** Pages sent as they are because no thread was free. */
  get busy(): number {
    return this.#slots[Slot.BUSY]!;
  }

  /** Pages sent as they are because they do not shrink by an eighth. */
  get incompressible(): number {
    return this.#slots[Slot.INCOMPRESSIBLE]!;
  }

  /** Pages sent as they are because the library failed on them, or their thread died. */
  get failed(): number {
    return this.#slots[Slot.FAILED]!;
  }
}
