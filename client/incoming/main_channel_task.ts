import type { TaskKind } from "../../migration/threads/thread_pool.ts";
import type { MainChannelInit, MainChannelMessage } from "./main_channel.ts";

/** Reading a main channel, on threads that give way to those that serve faults, and to guests. */
export const MAIN_CHANNEL_TASK: TaskKind<MainChannelInit, MainChannelMessage> = {
  thread: new URL("./main_channel_worker.ts", import.meta.url),
  name: "main channel",
  urgent: false,
};
