/** Numbers for the content of a page: a sequence that begins anew with each page. */

const SPREAD = 0x9e37_79b1;

/** Pseudo-random 32-bit numbers (Marsaglia's xorshift32), started for each page. */
export class ContentRandom {
  #state = 1;

  /** Begins the sequence of a page. */
  start(seed: number, page: number): void {
    this.#state = mix(seed, page) | 1;
    this.next();
  }

  /** Returns the next number, a signed 32-bit integer. */
  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x;
  }
}

/** Mixes two numbers into 32 bits in which every bit depends on all of theirs. */
export function mix(seed: number, number: number): number {
  let x = Math.imul(number + 1, SPREAD) ^ Math.imul(seed, 0x85eb_ca6b);
  x = Math.imul(x ^ (x >>> 16), 0x7feb_352d);
  x = Math.imul(x ^ (x >>> 15), 0x846c_a68b);
  return x ^ (x >>> 16);
}
