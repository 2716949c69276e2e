/**
 * Numbers of 64 bits as two words of a `Uint32Array`, low word first, as the kernel of a little-endian
 * machine has them: a `BigUint64Array` over the same memory would make a bigint of each. They are
 * addresses and lengths, and so below 2^53. (migration/protocol/byte_order.ts has those of a stream, which
 * are big-endian bytes.)
 */

const TWO_TO_32 = 0x1_0000_0000;

/** Returns the number whose low word is `words[at]`. */
export function readPair(words: Uint32Array, at: number): number {
  return words[at]! + words[at + 1]! * TWO_TO_32;
}

/** Puts a number into `words[at]` and the word behind it. */
export function writePair(words: Uint32Array, at: number, value: number): void {
  words[at] = value; // ToUint32 takes the low half of a number below 2^53
  words[at + 1] = value / TWO_TO_32;
}
