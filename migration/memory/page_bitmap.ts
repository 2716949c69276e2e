/** A bit for each page, shared by threads without a lock. */

/**
 * A bitmap over page numbers in shared memory. A page belongs to the thread whose
 * {@linkcode PageBitmap.take} found its bit set; this is how two senders never send one page twice.
 */
export class PageBitmap {
  /** The shared memory behind it, to give to another thread's constructor. */
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;
  /** Pages it has bits for. */
  readonly length: number;

  /**
   * @param length pages, a multiple of 32
   * @param buffer shared memory of another thread's bitmap; without it, new memory with all bits clear
   * @param offset bytes before it there, a multiple of 4
   */
  constructor(length: number, buffer?: SharedArrayBuffer, offset = 0) {
    if (length % 32 !== 0) throw new RangeError(`Bitmap length is no multiple of 32: ${length}`);
    this.buffer = buffer ?? new SharedArrayBuffer(length / 8);
    this.#words = new Int32Array(this.buffer, offset, length / 32);
    this.length = length;
  }

  /** Reports whether a page's bit is set. */
  has(page: number): boolean {
    return (Atomics.load(this.#words, page >>> 5) & (1 << (page & 31))) !== 0;
  }

  /** Sets a page's bit; returns true when this call changed it. */
  add(page: number): boolean {
    const bit = 1 << (page & 31);
    return (Atomics.or(this.#words, page >>> 5, bit) & bit) === 0;
  }

  /** Clears a page's bit; returns true when this call changed it: the page is now the caller's. */
  take(page: number): boolean {
    const bit = 1 << (page & 31);
    return (Atomics.and(this.#words, page >>> 5, ~bit) & bit) !== 0;
  }

  /**
   * Returns the first page at or after `from` and before `to` whose bit is set, or -1. Another
   * thread may clear it at any time: `take` decides.
   */
  next(from: number, to: number = this.length): number {
    const words = this.#words;
    let index = from >>> 5;
    const last = (to + 31) >>> 5;
    if (index >= last) return -1;
    let word = words[index]! & (-1 << (from & 31));
    while (word === 0) {
      if (++index >= last) return -1;
      word = words[index]!;
    }
    const page = index * 32 + (31 - Math.clz32(word & -word));
    return page < to ? page : -1;
  }

  /** Returns the first page at or after `from` and before `to` whose bit is clear, or -1. */
  nextClear(from: number, to: number = this.length): number {
    const words = this.#words;
    let index = from >>> 5;
    const last = (to + 31) >>> 5;
    if (index >= last) return -1;
    let word = ~words[index]! & (-1 << (from & 31));
    while (word === 0) {
      if (++index >= last) return -1;
      word = ~words[index]!;
    }
    const page = index * 32 + (31 - Math.clz32(word & -word));
    return page < to ? page : -1;
  }

  /** Returns the first page at or after `from` whose bit is set here and in a bitmap as long, or -1. */
  nextIn(other: PageBitmap, from: number): number {
    const words = this.#words;
    const others = other.#words;
    let index = from >>> 5;
    if (index >= words.length) return -1;
    let word = words[index]! & others[index]! & (-1 << (from & 31));
    while (word === 0) {
      if (++index >= words.length) return -1;
      word = words[index]! & others[index]!;
    }
    return index * 32 + (31 - Math.clz32(word & -word));
  }

  /** Counts the bits set here and in a bitmap as long. */
  countIn(other: PageBitmap): number {
    let total = 0;
    for (let i = 0; i < this.#words.length; i++) {
      total += countOnes(this.#words[i]! & other.#words[i]!);
    }
    return total;
  }

  /**
   * Sets the bits of `count` pages from `first`. Not atomic as a whole.
   *
   * @returns how many bits this call changed
   */
  fill(first: number, count: number): number {
    // As #eachWord does, without a closure: a scan calls it for every run of dirty pages.
    const words = this.#words;
    const end = first + count;
    let added = 0;
    let page = first;
    while (page < end) {
      const bits = Math.min(32 - (page & 31), end - page);
      const mask = wordMask(page, bits);
      added += countOnes(mask & ~Atomics.or(words, page >>> 5, mask));
      page += bits;
    }
    return added;
  }

  /** Clears the bits of `count` pages from `first`. Not atomic as a whole. */
  clear(first: number, count: number): void {
    this.#eachWord(first, count, (index, mask) => Atomics.and(this.#words, index, ~mask));
  }

  /**
   * Clears the bits of pages that are set in a bitmap of bytes, lowest first. Not atomic as a whole.
   *
   * @param first page of the lowest bit, a multiple of 8
   * @param bytes the bitmap is in `bytes[at..at + length)`
   */
  clearBits(first: number, bytes: Uint8Array, at: number, length: number): void {
    for (let index = 0, page = first; index < length; index++, page += 8) {
      const byte = bytes[at + index]!;
      if (byte !== 0) Atomics.and(this.#words, page >>> 5, ~(byte << (page & 31)));
    }
  }

  /** Makes every bit what it is in another bitmap of the same length. Not atomic: nobody else uses it meanwhile. */
  copyFrom(other: PageBitmap): void {
    this.#words.set(other.#words);
  }

  /** Counts the bits set from `first` on, `count` pages. */
  count(first = 0, count: number = this.length - first): number {
    let total = 0;
    this.#eachWord(first, count, (index, mask) => total += countOnes(this.#words[index]! & mask));
    return total;
  }

  /**
   * Counts the bits set from `first` on in cells of so many pages: those of the first cell are added to
   * `into[at]`, those of the next to the element behind. The last cell may be cut short.
   *
   * @param first page
   * @param count pages
   * @param size pages of a cell
   * @param within counts only what is set there too; a bitmap as long
   */
  countCells(
    first: number,
    count: number,
    size: number,
    into: number[],
    at: number,
    within?: PageBitmap,
  ): void {
    // As in fill: 1 TiB of memory is eight million words, for each picture of it.
    const words = this.#words;
    const others = within === undefined ? undefined : within.#words;
    const end = first + count;
    let page = first;
    for (let cell = at; page < end; cell++) {
      const cellEnd = Math.min(page + size, end);
      let total = 0;
      while (page < cellEnd) {
        const bits = Math.min(32 - (page & 31), cellEnd - page);
        const index = page >>> 5;
        let word = words[index]! & wordMask(page, bits);
        if (others !== undefined) word &= others[index]!;
        if (word !== 0) total += countOnes(word);
        page += bits;
      }
      into[cell]! += total;
    }
  }

  #eachWord(first: number, count: number, visit: (index: number, mask: number) => void): void {
    const end = first + count;
    let page = first;
    while (page < end) {
      const bits = Math.min(32 - (page & 31), end - page);
      visit(page >>> 5, wordMask(page, bits));
      page += bits;
    }
  }
}

/** The bits of `bits` pages from `page` in their word. */
function wordMask(page: number, bits: number): number {
  return bits === 32 ? -1 : ((1 << bits) - 1) << (page & 31);
}

/** Counts the bits set in a word of 32. */
export function countOnes(word: number): number {
  let bits = word - ((word >>> 1) & 0x5555_5555);
  bits = (bits & 0x3333_3333) + ((bits >>> 2) & 0x3333_3333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}
