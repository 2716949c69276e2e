/** Short messages for the return path, from threads that do not own it to the one that does. */

import { Ring } from "../../migration/threads/ring.ts";

/** Entries: a source sends some five PINGs in a migration. */
const CAPACITY = 64;

/** What the messages are. */
export const ReturnPathMessage = { PONG: 1, SHUT: 2, RESUME_ACK: 3 } as const;

/** Makes a ring, or another thread's end of it. */
export function returnPathRing(buffer?: SharedArrayBuffer): Ring {
  return new Ring(CAPACITY, 2, buffer);
}

/** Entries of the ring of pages that came on the main channel although they were asked for. */
const LANDED_CAPACITY = 4096;

/** Makes the ring of requested pages that the main channel's task has placed: number and time low half. */
export function landedRing(buffer?: SharedArrayBuffer): Ring {
  return new Ring(LANDED_CAPACITY, 1, buffer);
}
