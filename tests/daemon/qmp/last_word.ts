/** What a destination says last: SHUT, by which a source knows that it has everything. */

import { MESSAGE } from "../../../migration/protocol/constants.ts";
import type { Sieve } from "./half_relay.ts";

/** Bytes of a message's type and length. */
const HEAD_BYTES = 4;

/**
 * Passes on what a destination says on a first connection, in which no receive bitmap comes, but for SHUT.
 *
 * @param said called when that was kept
 */
export function withoutLastWord(said: () => void): Sieve {
  let head: number[] = [];
  let left = 0;
  let over = false;
  return (bytes) => {
    const passed: number[] = [];
    for (const byte of bytes) {
      if (over) break;
      if (left > 0) {
        passed.push(byte);
        left--;
        continue;
      }
      if (head.push(byte) < HEAD_BYTES) continue;
      const [type, length] = [head[0]! << 8 | head[1]!, head[2]! << 8 | head[3]!];
      over = type === MESSAGE.SHUT;
      if (!over) passed.push(...head);
      head = [];
      left = length;
    }
    if (over) said();
    return new Uint8Array(passed);
  };
}
