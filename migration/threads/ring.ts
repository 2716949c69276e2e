/** A lockless ring of numbers from one thread to one other. */

// Head and tail on cache lines of their own: a line that both cores write moves between them at
// every access.
const HEAD = 0;
const TAIL = 16;
const HEADER_WORDS = 32;

/**
 * A ring of 32-bit numbers in shared memory with a single producer and a single consumer. Entries
 * are of a fixed number of words; neither end ever waits.
 */
export class Ring {
  /** The shared memory behind it, to give to the other end's constructor. */
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #mask: number;
  readonly #entryWords: number;

  /**
   * @param capacity entries, a power of two
   * @param entryWords 32-bit words in an entry
   * @param buffer shared memory of the other end's ring, made with the same sizes
   */
  constructor(capacity: number, entryWords: number, buffer?: SharedArrayBuffer) {
    if (capacity < 1 || (capacity & (capacity - 1)) !== 0) {
      throw new RangeError(`Ring capacity is no power of two: ${capacity}`);
    }
    this.#mask = capacity - 1;
    this.#entryWords = entryWords;
    this.buffer = buffer ?? new SharedArrayBuffer((HEADER_WORDS + capacity * entryWords) * 4);
    this.#words = new Int32Array(this.buffer);
  }

  /**
   * Producer: puts an entry in.
   *
   * @param first the entry's first word
   * @param second its second, in a ring of two words or more
   * @param third its third, in a ring of three
   * @returns false when the ring is full
   */
  push(first: number, second = 0, third = 0): boolean {
    const words = this.#words;
    const tail = words[TAIL]!;
    if (((tail - Atomics.load(words, HEAD)) | 0) > this.#mask) return false;
    const at = HEADER_WORDS + (tail & this.#mask) * this.#entryWords;
    words[at] = first;
    if (this.#entryWords > 1) words[at + 1] = second;
    if (this.#entryWords > 2) words[at + 2] = third;
    Atomics.store(words, TAIL, (tail + 1) | 0); // publishes the words above
    return true;
  }

  /** Consumer: reports whether an entry is there. */
  get empty(): boolean {
    return Atomics.load(this.#words, TAIL) === this.#words[HEAD];
  }

  /** Consumer: a word of the oldest entry, which must be there. */
  peek(word = 0): number {
    const words = this.#words;
    return words[HEADER_WORDS + (words[HEAD]! & this.#mask) * this.#entryWords + word]!;
  }

  /** Consumer: drops the oldest entry, which must be there. */
  drop(): void {
    const words = this.#words;
    Atomics.store(words, HEAD, (words[HEAD]! + 1) | 0);
  }
}
