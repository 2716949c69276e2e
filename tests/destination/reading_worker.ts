/** Worker entry: reads whole pages in random order, again and again, and says when one is not whole. */

import { viewMemory } from "../../ffi/memory.ts";
import { Random } from "../support/random.ts";

/** What to read. */
export interface Reading {
  readonly address: number;
  readonly pages: number;
  readonly seed: number;
  /** For each page the word that it was first seen to be full of; 0: not seen yet. */
  readonly seen: SharedArrayBuffer;
}

/** What became of it: nothing when every page was whole and always the same. */
export interface ReadingReport {
  readonly failure?: string;
}

const PASSES = 3;
const WORDS = 1024;

const scope = self as unknown as {
  onmessage: (event: MessageEvent<Reading>) => void;
  postMessage(report: ReadingReport): void;
};

function read({ address, pages, seed, seen }: Reading): ReadingReport {
  const memory = new Int32Array(viewMemory(address, pages * 4096).buffer);
  const known = new Int32Array(seen);
  const random = new Random(seed);
  const order = Uint32Array.from({ length: pages }, (_, page) => page);
  for (let pass = 0; pass < PASSES; pass++) {
    for (let last = pages - 1; last > 0; last--) {
      const other = random.between(0, last);
      [order[last], order[other]] = [order[other]!, order[last]!];
    }
    for (const page of order) {
      const first = memory[page * WORDS]!;
      if (first === 0) return { failure: `Page ${page} is zero` };
      for (let word = 1; word < WORDS; word++) {
        const found = memory[page * WORDS + word]!;
        if (found !== first) return { failure: `Page ${page} is ${first} and ${found}` };
      }
      const before = Atomics.compareExchange(known, page, 0, first);
      if (before !== 0 && before !== first) {
        return { failure: `Page ${page} was ${before} and became ${first}` };
      }
    }
  }
  return {};
}

scope.onmessage = ({ data }) => scope.postMessage(read(data));
