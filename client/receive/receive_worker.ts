import { runPoolThread } from "../../migration/threads/pool_thread.ts";
import { SequenceTask, type TaskMaker } from "../../migration/threads/task.ts";
import { ImageChannel } from "./image_channel.ts";
import type { ImageChannelInit, ImageChannelMessage } from "./image_channel_messages.ts";
import { RECEIVE_TASK } from "./receive_task.ts";

const make: TaskMaker<ImageChannelInit, ImageChannelMessage> = (init, tell, poll) => {
  const channel = new ImageChannel(init, tell, poll);
  return new SequenceTask(channel.read(), channel);
};
runPoolThread({ [RECEIVE_TASK.name]: make });
