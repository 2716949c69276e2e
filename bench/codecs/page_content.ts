/** Content of pages as guests have it, made from a number, so that every run compresses the same. */

/** Bytes of a page. */
export const PAGE = 4096;

/** What a page holds. */
export type PageKind = "zero" | "text" | "structures" | "random";

const WORDS =
  ("the of and to in is that for it as was with be by on not he his but at are this have " +
    "from or had an they which one you were all her there would their we him been has when who will " +
    "no more if out so up said what its about than into them can only other time new some could " +
    "these two may first then do any like my now over such our man me even most made after also did " +
    "many page memory kernel thread source destination network channel request device state machine " +
    "error warning failed started stopped address buffer driver module process signal handler")
    .split(" ");

/** Numbers that look random, the same for the same seed (xorshift32). */
class Numbers {
  #state: number;

  constructor(seed: number) {
    this.#state = (Math.imul(seed + 1, 0x9e37_79b1) | 1) >>> 0;
    for (let round = 0; round < 8; round++) this.next();
  }

  /** Returns a number of 32 bits. */
  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return this.#state = x >>> 0;
  }

  /** Returns a whole number below a bound. */
  below(bound: number): number {
    return Math.floor(this.next() / 2 ** 32 * bound);
  }
}

/** Lines of words, frequent ones first as in any language, some with a number as in logs. */
function text(numbers: Numbers): Uint8Array<ArrayBuffer> {
  const parts: string[] = [];
  for (let length = 0; length < PAGE;) {
    const share = numbers.below(1000) / 1000;
    const word = WORDS[Math.floor(share * share * WORDS.length)]!;
    const end = numbers.below(12);
    const part = word + (end === 0 ? ".\n" : end === 1 ? ` ${numbers.below(100_000)} ` : " ");
    parts.push(part);
    length += part.length;
  }
  return new TextEncoder().encode(parts.join("")).subarray(0, PAGE);
}

/** Objects of 64 bytes: kernel addresses, counts, flags, times. */
function structures(numbers: Numbers, view: DataView): void {
  for (let at = 0; at < PAGE; at += 64) {
    for (const offset of [0, 8, 40]) {
      view.setUint32(at + offset, numbers.below(2 ** 24) * 64 >>> 0, true);
      view.setUint32(at + offset + 4, 0xffff_8881, true);
    }
    view.setUint32(at + 16, 1 + numbers.below(4), true);
    view.setUint32(at + 20, 1 << numbers.below(8), true);
    view.setUint32(at + 24, 0x6500_0000 + numbers.below(2 ** 20), true);
    view.setUint32(at + 32, numbers.below(2 ** 16), true);
  }
}

/**
 * Writes a page.
 *
 * @param number pages of different numbers differ, zero pages excepted
 * @param into 4096 bytes
 */
export function writePage(kind: PageKind, number: number, into: Uint8Array<ArrayBuffer>): void {
  const numbers = new Numbers(number);
  into.fill(0);
  if (kind === "text") into.set(text(numbers));
  if (kind === "structures") {
    structures(numbers, new DataView(into.buffer, into.byteOffset, into.byteLength));
  }
  if (kind === "random") { for (let at = 0; at < PAGE; at++) into[at] = numbers.next() >>> 13; }
}
