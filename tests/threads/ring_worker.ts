/** Worker entry: pushes a million entries into a ring. */

import { Ring } from "../../migration/threads/ring.ts";

/** What to push. */
export interface RingJob {
  readonly buffer: SharedArrayBuffer;
  readonly capacity: number;
  readonly entries: number;
}

const scope = self as unknown as {
  onmessage: (event: MessageEvent<RingJob>) => void;
  postMessage(full: number): void;
};
scope.onmessage = ({ data: { buffer, capacity, entries } }) => {
  const ring = new Ring(capacity, 2, buffer);
  let full = 0;
  for (let entry = 0; entry < entries; entry++) {
    while (!ring.push(entry, ~entry)) full++;
  }
  scope.postMessage(full);
};
