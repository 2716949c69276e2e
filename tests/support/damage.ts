/** Damage of every kind to bytes that were good. */

import type { Random } from "./random.ts";

/** Some bytes changed: bits flipped, bytes replaced, removed, repeated, or cut off. */
export function damage(random: Random, good: Uint8Array): Uint8Array {
  const bytes = good.slice();
  const at = random.below(bytes.length);
  switch (random.below(6)) {
    case 0:
      for (let flips = random.between(1, 5); flips > 0; flips--) {
        bytes[random.below(bytes.length)]! ^= 1 << random.below(8);
      }
      return bytes;
    case 1:
      bytes.set(random.bytes(Math.min(random.between(1, 9), bytes.length - at)), at);
      return bytes;
    case 2:
      bytes.copyWithin(at, at + random.between(1, 50));
      return bytes;
    case 3:
      bytes.fill(random.pick([0x00, 0x05, 0x7e, 0xff]), at, at + random.between(1, 16));
      return bytes;
    case 4:
      return bytes.subarray(0, at);
    default:
      return new Uint8Array([...bytes.subarray(0, at), ...random.bytes(random.below(500))]);
  }
}
