/** What a session has on a background thread: the pages that go before its guest runs, then the stream. */

import { becomeBackgroundThread } from "../../ffi/scheduling.ts";
import { MeasuredTask } from "../../migration/threads/measured_task.ts";
import {
  SequenceTask,
  type Steps,
  type Task,
  type TaskPoll,
  type Tell,
} from "../../migration/threads/task.ts";
import { EarlySender } from "../order/early_sender.ts";
import { BackgroundSender, type BackgroundSenderInit } from "./background_sender.ts";
import { ImagePrecopy } from "./image_precopy.ts";
import { SourceState } from "./source_state.ts";

/**
 * What it tells the control plane: what goes before the guest runs was sent, or all with the end of the memory,
 * and the main channel is free.
 */
export type BackgroundMessage = "early-sent" | "all-sent";

/**
 * Makes the task.
 *
 * @param init what the control plane prepared
 * @param tell called when the main channel is left to the control plane
 * @param poll the task's
 */
export function backgroundTask(
  init: BackgroundSenderInit,
  tell: Tell<BackgroundMessage>,
  poll: TaskPoll,
): Task {
  const state = new SourceState(init.state);
  const before = state.cpuTime("background"); // of a connection that broke
  // What both hold is given back however it ends.
  const held = new DisposableStack();
  const task = new SequenceTask(run(init, tell, poll, held), held);
  return new MeasuredTask(task, (used) => state.setCpuTime("background", before + used));
}

function* run(
  init: BackgroundSenderInit,
  tell: Tell<BackgroundMessage>,
  poll: TaskPoll,
  held: DisposableStack,
): Steps {
  if (init.early !== undefined) {
    const early = held.use(new EarlySender(init, init.early, poll));
    yield* early.run();
    tell("early-sent");
    yield* early.awaitStream();
    early[Symbol.dispose]();
  }
  // From here on behind every urgent thread, before nothing: but what goes before a guest it waits for.
  becomeBackgroundThread();
  if (init.multifd !== undefined) {
    const precopy = held.use(new ImagePrecopy(init, poll));
    const all = yield* precopy.run();
    tell(all ? "all-sent" : "early-sent");
    if (all) return;
    yield* precopy.awaitStream();
    precopy[Symbol.dispose]();
  }
  const { multifd: _, ...onMain } = init; // on demand pages go on the main channel alone
  yield* held.use(new BackgroundSender(onMain, poll)).run();
}
