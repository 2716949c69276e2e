import { becomeBackgroundThread } from "../../ffi/scheduling.ts";
import { MeasuredTask } from "../../migration/threads/measured_task.ts";
import { runPoolThread } from "../../migration/threads/pool_thread.ts";
import { SequenceTask, type TaskMaker } from "../../migration/threads/task.ts";
import { BackgroundSender, type BackgroundSenderInit } from "./background_sender.ts";

const background: TaskMaker<BackgroundSenderInit, never> = (init, _, poll) => {
  const sender = new BackgroundSender(init, poll);
  const task = new SequenceTask(sender.run(), sender);
  return new MeasuredTask(task, (nanoseconds) => sender.setCpuTime(nanoseconds));
};

// Behind every urgent thread, before nothing.
runPoolThread({ background }, becomeBackgroundThread);
