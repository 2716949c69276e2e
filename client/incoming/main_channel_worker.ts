import { becomeBackgroundThread } from "../../ffi/scheduling.ts";
import { runPoolThread } from "../../migration/threads/pool_thread.ts";
import type { TaskMaker } from "../../migration/threads/task.ts";
import { MainChannel, type MainChannelInit, type MainChannelMessage } from "./main_channel.ts";
import { MAIN_CHANNEL_TASK } from "./main_channel_task.ts";

const make: TaskMaker<MainChannelInit, MainChannelMessage> = (init, tell, poll) =>
  new MainChannel(init, tell, poll);
// Behind those that serve faults, and guests.
runPoolThread({ [MAIN_CHANNEL_TASK.name]: make }, becomeBackgroundThread);
