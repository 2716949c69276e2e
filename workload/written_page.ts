/**
 * A page of the pattern after writes. Each write adds one to one word of the page, the next word at
 * each write, from a word that depends on the page: the count of writes says what every word is.
 */

import { PATTERN_PAGE_WORDS, patternWord } from "../migration/memory/test_pattern.ts";

const SPREAD = 0x9e37_79b1;
const WORD_BITS: number = Math.log2(PATTERN_PAGE_WORDS);
const WORD_MASK: number = PATTERN_PAGE_WORDS - 1;

/** Returns the word that a page's first write changes. */
function firstSlot(page: number): number {
  return Math.imul(page, SPREAD) >>> (32 - WORD_BITS);
}

/**
 * Returns the word that the next write changes.
 *
 * @param page its number in the pattern
 * @param writes writes to the page before
 */
export function writeSlot(page: number, writes: number): number {
  return (firstSlot(page) + writes) & WORD_MASK;
}

/**
 * Returns what a word of a page must be.
 *
 * @param base the page's base in its pattern
 * @param page its number
 * @param index the word's number in the page
 * @param writes writes to the page until now
 */
export function writtenWord(base: number, page: number, index: number, writes: number): number {
  const turn = (index - firstSlot(page)) & WORD_MASK;
  const rounds = (writes >>> WORD_BITS) + (turn < (writes & WORD_MASK) ? 1 : 0);
  return (patternWord(base, index) + rounds) | 0;
}

/**
 * Compares every byte of a page with what it must be.
 *
 * @param words memory with the page in it
 * @param start index of the page's first word there
 * @param base the page's base in its pattern
 * @param page its number
 * @param writes writes to the page until now
 * @returns the first word of the page that differs, or -1
 */
export function findDifference(
  words: Int32Array,
  start: number,
  base: number,
  page: number,
  writes: number,
): number {
  const first = firstSlot(page);
  const partial = writes & WORD_MASK;
  const step = (base << 1) | 0;
  let word = (base + (writes >>> WORD_BITS)) | 0;
  // The sign bit of (turn - partial) is set for words that were written once more: as arithmetic,
  // 512 MiB take 70 ms on one thread.
  for (let index = 0; index < PATTERN_PAGE_WORDS; index++) {
    const more = (((index - first) & WORD_MASK) - partial) >>> 31;
    if (words[start + index] !== ((word + more) | 0)) return index;
    word = (word + step) | 0;
  }
  return -1;
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
