/**
 * Worker entry: a source's precopy thread that writes to the guest's memory, as the guest may, just
 * before it looks what was written. So a round leaves something for the next one however fast the
 * rounds are, and whether the guest's threads got a processor meanwhile or not. How much is in the
 * entry's address: a {@linkcode Writes}.
 *
 * @module
 */

import { viewMemory } from "../../ffi/memory.ts";
import { runPoolThread } from "../../migration/threads/pool_thread.ts";
import type { Task, TaskMaker } from "../../migration/threads/task.ts";
import { DirtyTracker } from "../../server/live/dirty_tracker.ts";
import { LiveState } from "../../server/live/live_state.ts";
import type { PrecopyInit, PrecopyMessage } from "../../server/live/precopy_sender.ts";
import { precopyTask } from "../../server/live/precopy_task.ts";

const PAGE = 4096;
const asked = new URL(import.meta.url).searchParams;
const rounds = Number(asked.get("rounds"));
const every = Number(asked.get("every"));

/** What writes for the task that makes a step now: the thread has one after the other, or several. */
let write = (): void => {};

const { collecting } = DirtyTracker.prototype;
DirtyTracker.prototype.collecting = function* (dirty) {
  write();
  return yield* collecting.call(this, dirty);
};

const precopy: TaskMaker<PrecopyInit, PrecopyMessage> = (init, tell, poll): Task => {
  const live = new LiveState(init.live);
  let looks = 0;
  const writeAll = (): void => {
    // The last look comes when the guest has stopped.
    if (++looks > rounds || live.guestStopped) return;
    for (const { address, length } of init.tracked) {
      const words = new Int32Array(viewMemory(address, length).buffer);
      for (let at = 0; at < length; at += every * PAGE) words[at / 4] = looks;
    }
  };
  const task = precopyTask(init, tell, poll);
  return {
    step(): boolean {
      write = writeAll;
      return task.step();
    },
    [Symbol.dispose]: () => task[Symbol.dispose](),
  };
};

runPoolThread({ precopy });
