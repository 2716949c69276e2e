/** Worker entry: pushes entries into a ring. */

import { Ring } from "../../migration/threads/ring.ts";
import { giveWay } from "./barrier.ts";

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
    while (!ring.push(entry, ~entry)) if ((++full & 0xff) === 0) giveWay();
  }
  scope.postMessage(full);
};
