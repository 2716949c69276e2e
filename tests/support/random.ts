/** A small seeded generator (mulberry32) for property tests: the same seed, the same run everywhere. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 32 random bits. */
  u32(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** A whole number from 0 to `limit - 1`; `limit` up to 2^53. */
  below(limit: number): number {
    const fraction = (this.u32() * 0x20_0000 + (this.u32() >>> 11)) / 2 ** 53;
    return Math.floor(fraction * limit);
  }

  /** A whole number from `least` to `most`. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  /** True in one of `n` cases on average. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }

  /** One of the items. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** Random bytes. */
  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) bytes[i] = this.u32();
    return bytes;
  }

  /** The bytes cut into pieces of 1 to `most` bytes. */
  split(bytes: Uint8Array, most: number): Uint8Array[] {
    const pieces: Uint8Array[] = [];
    for (let at = 0; at < bytes.length;) {
      const end = Math.min(bytes.length, at + this.between(1, most));
      pieces.push(bytes.subarray(at, end));
      at = end;
    }
    return pieces;
  }
}
