/** A pool's thread that works on rings, for tests. */

import { runPoolThread } from "../../migration/threads/pool_thread.ts";
import { RingTask } from "../../migration/threads/ring_task.ts";
import type { TaskMaker } from "../../migration/threads/task.ts";
import { ThreadTime } from "../../migration/threads/thread_time.ts";
import { WorkRing } from "../../migration/threads/work_ring.ts";
import { Request, RING, RING_SHAPE, type RingTaskInit } from "./ring_tasks.ts";

const time = new ThreadTime();
const nothing: Disposable = { [Symbol.dispose]() {} };

const make: TaskMaker<RingTaskInit, never> = (init, _, poll) => {
  const gate = new Int32Array(init.gate);
  const ring = new WorkRing(RING_SHAPE, init.rings, 0);
  const work = (_: number, at: number) => {
    const request = ring.words[at];
    if (request === Request.FAIL) throw new Error("No such work");
    if (request === Request.WAIT) {
      Atomics.add(gate, 2, 1);
      Atomics.wait(gate, 0, 0);
    }
    ring.words[at] = Atomics.add(gate, 1, 1) + 1;
  };
  return new RingTask(ring, poll, time, work, nothing);
};
runPoolThread({ [RING.name]: make });
