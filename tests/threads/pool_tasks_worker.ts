/** A pool's thread with tasks for tests. */

import { clearEvent } from "../../ffi/eventfd.ts";
import { PollEvents } from "../../ffi/poll.ts";
import { threadId } from "../../ffi/scheduling.ts";
import { runPoolThread } from "../../migration/threads/pool_thread.ts";
import {
  SequenceTask,
  type Steps,
  type TaskPoll,
  type Tell,
} from "../../migration/threads/task.ts";
import type { CounterInit, PoolMessage } from "./pool_tasks.ts";

/** Counts what its eventfd brings, until there are enough. */
function* count(init: CounterInit, tell: Tell<PoolMessage>, poll: TaskPoll): Steps {
  const counts = new Int32Array(init.counts);
  tell({ kind: "thread", id: threadId() });
  poll.watch(0, init.fd, PollEvents.IN);
  while (Atomics.load(counts, init.index) < init.limit) {
    yield;
    if (poll.ready(0) === 0) continue;
    clearEvent(init.fd);
    Atomics.add(counts, init.index, 1);
    Atomics.notify(counts, init.index);
    tell({ kind: "counted" });
  }
}

/** Says when its time has come, and whether it was an event that ended the wait. */
function* sleep(
  { fd, nanoseconds }: { readonly fd: number; readonly nanoseconds: number },
  tell: Tell<PoolMessage>,
  poll: TaskPoll,
): Steps {
  poll.watch(3, fd, PollEvents.IN);
  poll.sleep(nanoseconds);
  yield;
  tell({ kind: "woken", found: poll.found });
}

/** Never waits: has always something to do until it is told to end. */
function* greedy({ stop }: { readonly stop: SharedArrayBuffer }, poll: TaskPoll): Steps {
  const words = new Int32Array(stop);
  while (Atomics.load(words, 0) === 0) {
    Atomics.add(words, 1, 1);
    poll.again();
    yield;
  }
}

function* fail(message: string, poll: TaskPoll): Steps {
  poll.again();
  yield;
  throw Object.assign(new RangeError(message), { code: "TRIED" });
}

const nothing: Disposable = { [Symbol.dispose]() {} };

runPoolThread({
  count: (init, tell, poll) =>
    new SequenceTask(count(init, tell, poll), {
      [Symbol.dispose]: () => tell({ kind: "disposed" }),
    }),
  sleep: (init, tell, poll) => new SequenceTask(sleep(init, tell, poll), nothing),
  greedy: (init, _tell, poll) => new SequenceTask(greedy(init, poll), nothing),
  fail: (message, tell, poll) =>
    new SequenceTask(fail(message, poll), {
      [Symbol.dispose]: () => tell({ kind: "disposed" }),
    }),
  unmade: () => {
    throw new TypeError("Cannot be made");
  },
});
