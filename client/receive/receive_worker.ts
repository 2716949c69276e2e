import { libc } from "../../ffi/libc.ts";
import { runWorkerThread } from "../../migration/threads/worker_thread.ts";
import { ImageChannel, type ImageChannelInit, type ImageChannelMessage } from "./image_channel.ts";

libc(); // opening it takes 10 ms: before the thread says that it is ready
runWorkerThread<ImageChannelInit, ImageChannelMessage>((init, tell) => {
  using channel = new ImageChannel(init, tell);
  channel.read();
});
