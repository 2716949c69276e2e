import { libc } from "../../ffi/libc.ts";
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

libc(); // opening it takes 10 ms: before the thread says that it is ready
// Behind every urgent thread, before nothing.
runPoolThread({ background }, becomeBackgroundThread);
