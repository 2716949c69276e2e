/** Memory content that any page can be checked against: a function of a seed and the page's number. */

/** Bytes of a page of the pattern. */
export const PATTERN_PAGE_BYTES = 4096;
/** 32-bit words of a page of the pattern. */
export const PATTERN_PAGE_WORDS: number = PATTERN_PAGE_BYTES / 4;

// Odd factors, so that multiplying is a bijection; 0x9e3779b1 is 2^32 divided by the golden ratio.
const SPREAD = 0x9e37_79b1;
const MIX = 0x2c1b_3c6d;
const LOW_31_BITS = 0x7fff_ffff;

/** What a memory image of test content was made from. */
export interface TestPatternSettings {
  /** Any 32-bit number. */
  readonly seed: number;
  /** One page in so many is a zero page, chosen by the seed; 0: none is. */
  readonly zeroEvery: number;
}

/**
 * Test content of memory. No two data pages of a pattern are equal, nor two words of a data page,
 * so that a page in the wrong place, from another image or moved within itself is noticed.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { patternWord, TestPattern } from "./test_pattern.ts";
 *
 * const pattern = new TestPattern({ seed: 1, zeroEvery: 4 });
 * const page = new Int32Array(1024);
 * pattern.expectedPage(7, page);
 * assertEquals(page[20], patternWord(pattern.base(7), 20));
 * ```
 */
export class TestPattern implements TestPatternSettings {
  /** See {@linkcode TestPatternSettings.seed}. */
  readonly seed: number;
  /** See {@linkcode TestPatternSettings.zeroEvery}. */
  readonly zeroEvery: number;

  /**
   * @param settings what the content is made from
   * @throws {RangeError} for a seed that is no 32-bit number, or a share of zero pages that cannot be
   */
  constructor({ seed, zeroEvery }: TestPatternSettings) {
    if (!Number.isInteger(seed) || seed < 0 || seed > 0xffff_ffff) {
      throw new RangeError(`Seed is no 32-bit number: ${seed}`);
    }
    if (!Number.isInteger(zeroEvery) || zeroEvery < 0) {
      throw new RangeError(
        `zeroEvery is no whole number (0 for no zero pages, N for one in N): ${zeroEvery}`,
      );
    }
    this.seed = seed;
    this.zeroEvery = zeroEvery;
  }

  /**
   * Returns the number that a page's words are made from: 0 for a zero page, else odd and no other
   * page's.
   *
   * @param page below 2^31
   */
  base(page: number): number {
    // Every step is a bijection of 31 bits: different pages stay different.
    let x = (Math.imul(page, SPREAD) + this.seed) & LOW_31_BITS;
    x ^= x >>> 15;
    x = Math.imul(x, MIX) & LOW_31_BITS;
    x ^= x >>> 16;
    if (this.zeroEvery !== 0 && x % this.zeroEvery === 0) return 0;
    return (x << 1) | 1;
  }

  /** Reports whether a page is all zeros. */
  isZero(page: number): boolean {
    return this.base(page) === 0;
  }

  /**
   * Writes a page's content.
   *
   * @param page below 2^31
   * @param into where its words go
   * @param at index of its first word
   */
  expectedPage(page: number, into: Int32Array, at = 0): void {
    const base = this.base(page);
    const step = (base << 1) | 0;
    let word = base;
    for (let index = 0; index < PATTERN_PAGE_WORDS; index++) {
      into[at + index] = word;
      word = (word + step) | 0;
    }
  }
}

/**
 * Returns a word of a page.
 *
 * @param base what {@linkcode TestPattern.base} returned for the page
 * @param index the word's number in the page
 */
export function patternWord(base: number, index: number): number {
  return Math.imul(base, 2 * index + 1);
}
