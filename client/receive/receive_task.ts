import type { TaskKind } from "../../migration/threads/thread_pool.ts";
import type { ImageChannelInit, ImageChannelMessage } from "./image_channel_messages.ts";

/**
 * Receiving an image, on threads that do nothing else: a disk that is slow keeps other images waiting, and
 * no guest.
 */
export const RECEIVE_TASK: TaskKind<ImageChannelInit, ImageChannelMessage> = {
  thread: new URL("./receive_worker.ts", import.meta.url),
  name: "image",
  urgent: false,
};
