/** A precopy sender as a task of a thread that many migrations share. */

import { MeasuredTask } from "../../migration/threads/measured_task.ts";
import { SequenceTask, type Task, type TaskPoll, type Tell } from "../../migration/threads/task.ts";
import { pageSaver } from "../sending/compressing_pages.ts";
import {
  type PrecopyInit,
  type PrecopyMessage,
  PrecopySender,
  type SaverMaker,
} from "./precopy_sender.ts";

/**
 * Makes the task.
 *
 * @param init what the control plane prepared
 * @param tell called when the guest is to stop
 * @param poll the task's
 * @param saver makes what puts the pages into the batches; default as `init` says
 */
export function precopyTask(
  init: PrecopyInit,
  tell: Tell<PrecopyMessage>,
  poll: TaskPoll,
  saver: SaverMaker = pageSaver,
): Task {
  const sender = new PrecopySender(init, tell, poll, saver);
  const task = new SequenceTask(sender.run(), sender);
  return new MeasuredTask(task, (nanoseconds) => sender.setCpuTime(nanoseconds));
}
