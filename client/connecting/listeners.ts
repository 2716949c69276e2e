/** The places where a source may connect, on their way to the task that accepts there. */

import { Ring } from "../../migration/threads/ring.ts";

/** Places where a source may connect. */
export const MOST_LISTENERS = 8;

/** Makes the ring of further listening sockets, from the control plane to the task that accepts. */
export function listenersRing(buffer?: SharedArrayBuffer): Ring {
  return new Ring(MOST_LISTENERS, 1, buffer);
}
