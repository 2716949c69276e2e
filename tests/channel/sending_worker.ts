/** Worker entry: tasks that send memory on a channel, and tasks that count their turns beside them. */

import { clearEvent } from "../../ffi/eventfd.ts";
import { Gather } from "../../ffi/gather.ts";
import { PollEvents } from "../../ffi/poll.ts";
import { TO_DESTINATION } from "../../channel/role.ts";
import { SendingEnd } from "../../channel/sending_end.ts";
import { SteppedSender } from "../../channel/stepped_sender.ts";
import { runPoolThread } from "../../migration/threads/pool_thread.ts";
import {
  SequenceTask,
  type Steps,
  type TaskPoll,
  type Tell,
} from "../../migration/threads/task.ts";

/** What a task is to send. */
export interface SendingJob {
  readonly fd: number;
  readonly address: number;
  /** Bytes, sent in 16 pieces. */
  readonly length: number;
  /** Signalled when the flag changes. */
  readonly wakeFd: number;
  /** One word: 1 to stop. */
  readonly flag: SharedArrayBuffer;
  readonly stallTimeout: number;
}

/** How it went on. */
export type SendingReport =
  /** There is no room, and the task waits. */
  | "waits"
  /** What `send` returned. */
  | boolean;

const NOTHING = { [Symbol.dispose]() {} };

function* send(job: SendingJob, tell: Tell<SendingReport>, poll: TaskPoll): Steps {
  const words = new Int32Array(job.flag);
  poll.watch(0, job.wakeFd, PollEvents.IN);
  const sender = new SteppedSender(
    new SendingEnd({ fd: job.fd }, TO_DESTINATION.MAIN),
    poll,
    1,
    {
      stopped: () => Atomics.load(words, 0) === 1,
      woken: () => {
        if (poll.ready(0) !== 0) clearEvent(job.wakeFd);
      },
      stallTimeout: job.stallTimeout,
    },
  );
  const gather = new Gather(16);
  const piece = job.length / 16;
  for (let at = 0; at < 16; at++) gather.add(job.address + at * piece, piece);
  if (!sender.end.trySend(gather)) tell("waits");
  tell(yield* sender.send(gather));
}

runPoolThread({
  sending: (job: SendingJob, tell: Tell<SendingReport>, poll) =>
    new SequenceTask(send(job, tell, poll), NOTHING),
  passing: () => ({ step: () => true, ...NOTHING }),
});
