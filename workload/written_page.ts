/**
 * A page of the pattern after writes. Each write adds one to one word of the page, the next word at
 * each write, from a word that depends on the page: the count of writes says what every word is.
 */

import {
  PATTERN_PAGE_WORDS,
  patternWord,
  TestPattern,
  type TestPatternSettings,
} from "./test_pattern.ts";

const SPREAD = 0x9e37_79b1;
const WORD_BITS: number = Math.log2(PATTERN_PAGE_WORDS);
const WORD_MASK: number = PATTERN_PAGE_WORDS - 1;

/** Returns the turn with which a page's first write begins. */
function firstTurn(page: number): number {
  return Math.imul(page, SPREAD) >>> (32 - WORD_BITS);
}

/**
 * The pages of a pattern after writes.
 *
 * A page's words take turns. Where they repeat, a word's turn comes after that of the same word one
 * period before it: all periods but one word are equal after any number of writes, and the page
 * compresses as well as before. Where they do not, the next word in the page is the next in turn.
 */
export class WrittenPattern {
  readonly #pattern: TestPattern;
  readonly #period: number;
  readonly #repeats: number;
  readonly #periodBits: number;
  readonly #repeatBits: number;

  /** @param settings what the pages were before the first write */
  constructor(settings: TestPatternSettings) {
    const pattern = new TestPattern(settings);
    this.#pattern = pattern;
    this.#period = pattern.period;
    this.#repeats = pattern.repeats;
    this.#periodBits = Math.log2(pattern.period);
    this.#repeatBits = Math.log2(pattern.repeats);
  }

  /**
   * Returns the word that the next write changes.
   *
   * @param page its number in the pattern
   * @param writes writes to the page before
   */
  writeSlot(page: number, writes: number): number {
    const turn = (firstTurn(page) + writes) & WORD_MASK;
    return ((turn & (this.#repeats - 1)) << this.#periodBits) | (turn >>> this.#repeatBits);
  }

  /**
   * Returns what a word of a page must be.
   *
   * @param page its number
   * @param index the word's number in the page
   * @param writes writes to the page until now
   */
  word(page: number, index: number, writes: number): number {
    const inPeriod = index & (this.#period - 1);
    const turn = (inPeriod << this.#repeatBits) | (index >>> this.#periodBits);
    const order = (turn - firstTurn(page)) & WORD_MASK;
    const rounds = (writes >>> WORD_BITS) + (order < (writes & WORD_MASK) ? 1 : 0);
    return (patternWord(this.#pattern.base(page), inPeriod) + rounds) | 0;
  }

  /**
   * Compares every byte of a page with what it must be.
   *
   * @param words memory with the page in it
   * @param start index of the page's first word there
   * @param page its number
   * @param writes writes to the page until now
   * @returns the first word of the page that differs, or -1
   */
  findDifference(words: Int32Array, start: number, page: number, writes: number): number {
    const period = this.#period;
    const repeats = this.#repeats;
    const partial = writes & WORD_MASK;
    const base = this.#pattern.base(page);
    const step = (base << 1) | 0;
    const firstWord = (base + (writes >>> WORD_BITS)) | 0;
    let order = -firstTurn(page);
    for (let first = 0; first < PATTERN_PAGE_WORDS; first += period) {
      let word = firstWord;
      // The sign bit of (order - partial) is set for words that were written once more: as
      // arithmetic, 512 MiB take 110 ms on one thread.
      for (let index = first; index < first + period; index++) {
        const more = ((order & WORD_MASK) - partial) >>> 31;
        if (words[start + index] !== ((word + more) | 0)) return index;
        word = (word + step) | 0;
        order += repeats;
      }
      order += 1 - PATTERN_PAGE_WORDS; // the same word of the next period is next in turn
    }
    return -1;
  }
}

/** A byte that is not what it must be. */
export interface WrongByte {
  /** The page's number in the pattern. */
  readonly page: number;
  /** The byte's offset in the page. */
  readonly offset: number;
  /** What it must be. */
  readonly expected: number;
  /** What it is. */
  readonly found: number;
}

/**
 * Finds the first byte in which two unequal words differ.
 *
 * @param page number of the page, for the result
 * @param index number of the word in the page
 */
export function wrongByte(page: number, index: number, expected: number, found: number): WrongByte {
  const difference = expected ^ found;
  const byte = (31 - Math.clz32(difference & -difference)) >>> 3; // little-endian
  return {
    page,
    offset: index * 4 + byte,
    expected: (expected >>> (byte * 8)) & 0xff,
    found: (found >>> (byte * 8)) & 0xff,
  };
}
