/** Worker entry: touches a page and says what it found there, if it ever gets on. */

import { viewMemory } from "../../ffi/memory.ts";

/** What to touch. */
export interface Touch {
  readonly address: number;
  /** Word 0 is set to 1 before the touch and to 2 behind it; word 1 is what was found. */
  readonly result: SharedArrayBuffer;
}

const scope = self as unknown as {
  onmessage: (event: MessageEvent<Touch>) => void;
};
scope.onmessage = ({ data }) => {
  const result = new Int32Array(data.result);
  const words = new Int32Array(viewMemory(data.address, 4096).buffer);
  Atomics.store(result, 0, 1);
  result[1] = words[5]!;
  Atomics.store(result, 0, 2);
};
