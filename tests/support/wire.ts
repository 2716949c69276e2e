/** What passes by a relay, as somebody on the way sees it. */

import { Buffer } from "node:buffer";
import type { FaultRelayOptions, Relayed } from "./fault_relay.ts";

/** Keeps all that passes, each direction of each connection by itself. */
export class Wire {
  readonly #flows = new Map<Relayed, { onward: Uint8Array[]; back: Uint8Array[] }>();

  /** For the relay. */
  readonly tap: FaultRelayOptions = {
    onPassed: (bytes, way, connection) => {
      const flow = this.#flows.getOrInsertComputed(connection, () => ({ onward: [], back: [] }));
      flow[way].push(bytes.slice());
    },
  };

  /** Of patterns, as `latin1` strings, those that passed somewhere. */
  seen(patterns: readonly string[]): string[] {
    const texts = [...this.#flows.values()]
      .flatMap(({ onward, back }) => [onward, back])
      .map((pieces) => Buffer.concat(pieces).toString("latin1")); // which is searched ten times as fast
    return patterns.filter((pattern) => texts.some((text) => text.includes(pattern)));
  }
}

/** Pieces of pages, for {@linkcode Wire.seen}: of pages with more than zeros, spread over all of them. */
export function patternsOf(memory: Uint8Array<ArrayBuffer>, count: number): string[] {
  const pages = memory.length / 4096;
  const found: string[] = [];
  for (let page = 0; page < pages; page++) {
    const piece = memory.subarray(page * 4096 + 100, page * 4096 + 132);
    if (piece.some((byte) => byte !== 0)) found.push(Buffer.from(piece).toString("latin1"));
  }
  const step = Math.max(1, Math.floor(found.length / count));
  return found.filter((_, index) => index % step === 0);
}
