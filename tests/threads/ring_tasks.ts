/** Work on rings for tests of a pool's thread that has many: see ring_tasks_worker.ts. */

import type { TaskKind } from "../../migration/threads/thread_pool.ts";
import type { WorkRingsShape } from "../../migration/threads/work_ring.ts";

/** Shape of the rings: a request is what is to be done, its result the turn in which it was. */
export const RING_SHAPE: WorkRingsShape = { workers: 1, capacity: 64, words: 1 };

/** Requests. */
export const Request = {
  /** The next number of all that the thread works on. */
  COUNT: 1,
  /** The same, once {@linkcode RingTaskInit.gate} is open. */
  WAIT: 2,
  /** The work throws. */
  FAIL: 3,
} as const;

/** First message of a task. */
export interface RingTaskInit {
  /** The rings; the task is their only worker. */
  readonly rings: SharedArrayBuffer;
  /** Word 0: not 0 once it is open; word 1: requests so far, of all; word 2: those that wait at it. */
  readonly gate: SharedArrayBuffer;
}

/** Works on a ring. */
export const RING: TaskKind<RingTaskInit, never> = {
  thread: new URL("./ring_tasks_worker.ts", import.meta.url),
  name: "ring",
  urgent: false,
  calculates: true,
};
