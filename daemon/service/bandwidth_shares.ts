/** A bandwidth that all sessions share: each gets what it may take, and the others what that leaves. */

/** Whose background stream may be limited. */
interface Limited {
  /** @param bytesPerSecond 0 for no limit */
  limitTo(bytesPerSecond: number): void;
}

/** Keeps all that send within a bandwidth together. */
export class BandwidthShares<T extends Limited> {
  readonly #own = new Map<T, number>();
  readonly #total: () => number;

  /** @param total tells the bandwidth, in bytes a second; 0 for no limit */
  constructor(total: () => number) {
    this.#total = total;
  }

  /** Whether one is among those that share. */
  has(one: T): boolean {
    return this.#own.has(one);
  }

  /** Takes one in, or changes the limit that it has of its own: bytes a second, 0 for none. */
  set(one: T, own: number): void {
    this.#own.set(one, own);
    this.divide();
  }

  /** One sends no more. */
  delete(one: T): void {
    if (this.#own.delete(one)) this.divide();
  }

  /** Gives each its part, when the bandwidth has changed. */
  divide(): void {
    const shares = divideBandwidth(this.#total(), [...this.#own.values()]);
    [...this.#own.keys()].forEach((one, index) => one.limitTo(shares[index]!));
  }
}

/**
 * Divides a bandwidth.
 *
 * @param total bytes a second; 0 for no limit
 * @param own the limit that each session has of its own, in bytes a second; 0 for none
 * @returns the limit of each; 0 for none
 */
export function divideBandwidth(total: number, own: readonly number[]): number[] {
  if (total === 0) return [...own];
  const shares = own.map(() => 0);
  const order = own.map((limit, index) => ({ limit: limit === 0 ? Infinity : limit, index }))
    .sort((one, other) => one.limit - other.limit);
  let left = total;
  order.forEach(({ limit, index }, place) => {
    // At least a byte: 0 would be no limit at all.
    const share = Math.max(1, Math.min(limit, left / (order.length - place)));
    shares[index] = share;
    left -= share;
  });
  return shares;
}
