/** What became of the pages that were to be compressed. */

const PAGES = 0;
const BYTES = 1;
const BUSY = 2;
const INCOMPRESSIBLE = 3;
const FAILED = 4;

/** Counters of compression; the thread that sends the main channel alone writes them, any may read. */
export class CompressionCounters {
  readonly #slots: Float64Array;

  /** @param slots five float64 slots of shared memory */
  constructor(slots: Float64Array) {
    this.#slots = slots;
  }

  /** Counts a page sent compressed, and the bytes that it takes so. */
  addCompressed(bytes: number): void {
    this.#slots[PAGES]!++;
    this.#slots[BYTES]! += bytes;
  }

  /** Counts a page sent as it is because no thread was free. */
  addBusy(): void {
    this.#slots[BUSY]!++;
  }

  /** Counts a page sent as it is because it does not shrink by an eighth. */
  addIncompressible(): void {
    this.#slots[INCOMPRESSIBLE]!++;
  }

  /** Counts a page sent as it is because the library failed on it. */
  addFailed(): void {
    this.#slots[FAILED]!++;
  }

  /** Pages sent compressed. */
  get pages(): number {
    return this.#slots[PAGES]!;
  }

  /** Bytes of these pages on the wire, without the records' heads. */
  get bytes(): number {
    return this.#slots[BYTES]!;
  }

  /** Pages sent as they are because no thread was free. */
  get busy(): number {
    return this.#slots[BUSY]!;
  }

  /** Pages sent as they are because they do not shrink by an eighth. */
  get incompressible(): number {
    return this.#slots[INCOMPRESSIBLE]!;
  }

  /** Pages sent as they are because the library failed on them. */
  get failed(): number {
    return this.#slots[FAILED]!;
  }
}
