/** Worker entry: tasks that wait with {@linkcode Turns}, and tell of each nap whether it was woken. */

import { runPoolThread } from "../../migration/threads/pool_thread.ts";
import {
  SequenceTask,
  type Steps,
  type TaskPoll,
  type Tell,
} from "../../migration/threads/task.ts";
import { Turns } from "../../server/sending/turns.ts";

/** What a task does in its order: waits for an event, or that others go on; naps so many nanoseconds. */
export type Wait = "pause" | "give" | "leave" | number;

/** What a task is to do. */
export interface TurnsJob {
  /** An eventfd. */
  readonly event: number;
  readonly waits: readonly Wait[];
}

function* wait({ event, waits }: TurnsJob, tell: Tell<boolean>, poll: TaskPoll): Steps {
  const turns = new Turns(poll, { events: [event], stopped: () => false, stallTimeout: 0 });
  for (const each of waits) {
    if (each === "leave") turns.leave(event);
    else if (each === "pause") yield* turns.pause();
    else if (each === "give") yield* turns.give();
    else tell(yield* turns.nap(each));
  }
}

runPoolThread({
  waiting: (job: TurnsJob, tell: Tell<boolean>, poll) =>
    new SequenceTask(wait(job, tell, poll), { [Symbol.dispose]() {} }),
});
