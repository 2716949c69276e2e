/** Pages on their way between the thread that sends them and those that compress them. */

import type { WorkRingsShape } from "../../migration/threads/work_rings.ts";

/** What a thread needs to have pages compressed: plain data, for `postMessage`. */
export interface CompressionInit {
  /** Workers and slots. */
  readonly shape: WorkRingsShape;
  /** Shared memory of the rings. */
  readonly rings: SharedArrayBuffer;
  /** Address of the slots' memory, `SLOT_BYTES` for each, owned by the control plane. */
  readonly memory: number;
  /** Whether a page waits for a thread when all are busy; else it is sent as it is. */
  readonly wait: boolean;
}

/** Words of a slot. */
export const SLOT_WORDS = 2;
/** Going in: the page's number. */
export const PAGE_WORD = 0;
/** Coming out: the bytes that it was compressed to; 0 when it is to be sent as it is. */
export const BYTES_WORD = 1;
/** In place of these bytes: the library failed. */
export const FAILED = -1;
