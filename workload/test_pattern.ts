/** Memory content that any page can be checked against: a function of a seed and the page's number. */

/** Bytes of a page of the pattern. */
export const PATTERN_PAGE_BYTES = 4096;
/** 32-bit words of a page of the pattern. */
export const PATTERN_PAGE_WORDS: number = PATTERN_PAGE_BYTES / 4;

// Odd factors, so that multiplying is a bijection; 0x9e3779b1 is 2^32 divided by the golden ratio.
const SPREAD = 0x9e37_79b1;
const MIX = 0x2c1b_3c6d;
const LOW_31_BITS = 0x7fff_ffff;

/** How often the words of a page may repeat; with the most, 16 of them differ. */
export const REPEATS: readonly number[] = [1, 2, 4, 8, 16, 32, 64];

/** What a memory image of test content was made from. */
export interface TestPatternSettings {
  /** Any 32-bit number. */
  readonly seed: number;
  /** One page in so many is a zero page, chosen by the seed; 0: none is. */
  readonly zeroEvery: number;
  /**
   * How often the words of a page repeat, one of {@linkcode REPEATS}; default 1. zlib and zstd shrink a
   * data page to about this part; with 1 they do not shrink it.
   */
  readonly repeats?: number;
}

/**
 * Test content of memory. No two data pages of a pattern are equal, nor do two begin with the same
 * word, so that a page in the wrong place or from another image is noticed.
 *
 * A data page is one period of different words, `repeats` times. With 1 repeat no two of its words are
 * equal, and content that moved within the page is noticed too. With more it is not noticed when it
 * moved by whole periods, which is 4096 / `repeats` bytes.
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
  /** See {@linkcode TestPatternSettings.repeats}. */
  readonly repeats: number;

  /**
   * @param settings what the content is made from
   * @throws {RangeError} for a seed that is no 32-bit number, a share of zero pages that cannot be, or
   * repeats that are none of those allowed
   */
  constructor({ seed, zeroEvery, repeats = 1 }: TestPatternSettings) {
    if (!Number.isInteger(seed) || seed < 0 || seed > 0xffff_ffff) {
      throw new RangeError(`Seed is no 32-bit number: ${seed}`);
    }
    if (!Number.isInteger(zeroEvery) || zeroEvery < 0) {
      throw new RangeError(
        `zeroEvery is no whole number (0 for no zero pages, N for one in N): ${zeroEvery}`,
      );
    }
    if (!REPEATS.includes(repeats)) {
      throw new RangeError(
        `Words of a page cannot repeat so often: ${repeats}: use ${REPEATS.join(", ")}`,
      );
    }
    this.seed = seed;
    this.zeroEvery = zeroEvery;
    this.repeats = repeats;
  }

  /** The settings alone, to be posted to a worker. */
  get settings(): Required<TestPatternSettings> {
    return { seed: this.seed, zeroEvery: this.zeroEvery, repeats: this.repeats };
  }

  /** Words of a page that differ from one another, before they repeat. */
  get period(): number {
    return PATTERN_PAGE_WORDS / this.repeats;
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
    const period = this.period;
    for (let start = at; start < at + PATTERN_PAGE_WORDS; start += period) {
      let word = base;
      for (let index = 0; index < period; index++) {
        into[start + index] = word;
        word = (word + step) | 0;
      }
    }
  }
}

/**
 * Returns a word of a page.
 *
 * @param base what {@linkcode TestPattern.base} returned for the page
 * @param index the word's number in its period, the first of which begins with the page
 */
export function patternWord(base: number, index: number): number {
  return Math.imul(base, 2 * index + 1);
}
