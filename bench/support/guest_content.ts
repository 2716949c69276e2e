/**
 * Memory content as a guest's: pages of zeros, text, structures, code and noise, in shares and with
 * a compressibility like those of a machine that runs services. A page is a function of its number
 * and a seed.
 */

import { CODE_OVERRUN, writeCode } from "./guest_code.ts";
import { ContentRandom, mix } from "./guest_random.ts";
import { writeStructures } from "./guest_structures.ts";
import { TEXT_OVERRUN, writeText } from "./guest_text.ts";

const PAGE_WORDS = 1024;

/** What a page of a guest may hold. */
export type GuestPageKind =
  /** Nothing: free memory, or never used. */
  | "zero"
  /** Logs and prose: the page cache. */
  | "text"
  /** Objects with pointers, counts and flags: a kernel's slabs, heaps of programs. */
  | "structures"
  /** Machine code. */
  | "code"
  /** What was compressed or encrypted before. */
  | "random";

/** The kinds and their shares, in percent; multiples of 10. */
export const GUEST_SHARES: Readonly<Record<GuestPageKind, number>> = {
  zero: 40,
  text: 20,
  structures: 20,
  code: 10,
  random: 10,
};

/** Pages of one kind that follow one another: 64 KiB, as a guest's memory is not mixed page by page. */
export const PAGES_IN_RUN = 16;
/** Runs among which every kind has exactly its share. */
const RUNS = 10;
/** Pages of all runs: memory of a multiple of them, or of many more, has the shares exactly. */
export const PAGES_IN_MIX: number = RUNS * PAGES_IN_RUN;

const KIND_OF_RUN: readonly GuestPageKind[] = (Object.keys(GUEST_SHARES) as GuestPageKind[])
  .flatMap((kind) => new Array<GuestPageKind>(GUEST_SHARES[kind] / 10).fill(kind));
// Prime to 10: steps with which all runs are reached.
const STEPS = Uint8Array.from([1, 3, 7, 9]);

// A page is made here first: text and code are bytes and end behind it, the reader's memory is words.
const room = new ArrayBuffer(PAGE_WORDS * 4 + Math.max(TEXT_OVERRUN, CODE_OVERRUN));
const bytes = new Uint8Array(room);
const page = new Int32Array(room, 0, PAGE_WORDS);
const random = new ContentRandom();

/** The shares as text: "zero 40 %, text 20 %, ...". */
export function guestSharesText(): string {
  return Object.entries(GUEST_SHARES).map(([kind, share]) => `${kind} ${share} %`).join(", ");
}

/** Returns what a page holds. */
export function guestPageKind(index: number, seed: number): GuestPageKind {
  const order = mix(seed, Math.floor(index / PAGES_IN_MIX));
  const run = Math.floor(index / PAGES_IN_RUN) % RUNS;
  const step = STEPS[order & 3]!;
  return KIND_OF_RUN[(run * step + (order >>> 2) % RUNS) % RUNS]!;
}

/**
 * Writes a page. 1 GiB takes one or two seconds.
 *
 * @param index the page's number
 * @param seed of the memory, any 32-bit number
 * @param words where it goes
 * @param at index of its first word there
 */
export function guestPage(index: number, seed: number, words: Int32Array, at = 0): void {
  const kind = guestPageKind(index, seed);
  if (kind === "zero") {
    words.fill(0, at, at + PAGE_WORDS);
    return;
  }
  random.start(seed, index);
  switch (kind) {
    case "text":
      writeText(random, bytes);
      break;
    case "structures":
      writeStructures(random, index, page);
      break;
    case "code":
      writeCode(random, bytes);
      break;
    case "random":
      for (let word = 0; word < PAGE_WORDS; word++) page[word] = random.next();
      break;
  }
  words.set(page, at);
}
