/** Worker entry: touches pages here and there until it is ended. One that never comes holds it, and nobody else. */

import { viewMemory } from "../../ffi/memory.ts";
import { Random } from "../support/random.ts";

/** What to touch. */
export interface Restless {
  readonly address: number;
  readonly pages: number;
}

/** Milliseconds between two pieces of memory that are touched, and pages of one. */
const PAUSE = 60;
const PIECE = 24;

const scope = self as unknown as {
  onmessage: (event: MessageEvent<Restless>) => void;
};
scope.onmessage = ({ data: { address, pages } }) => {
  const random = new Random(3);
  const words = new Int32Array(viewMemory(address, pages * 4096).buffer);
  let sum = 0;
  for (let page = 0; page < 300; page++) sum += words[(page * 7 + random.below(7)) * 1024]!;
  setInterval(() => {
    const from = random.below(pages - PIECE);
    for (let page = from; page < from + PIECE; page++) sum += words[page * 1024]!;
  }, PAUSE);
};
