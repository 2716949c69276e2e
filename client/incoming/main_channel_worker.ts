import { libc } from "../../ffi/libc.ts";
import { becomeBackgroundThread } from "../../ffi/scheduling.ts";
import { runWorkerThread } from "../../migration/threads/worker_thread.ts";
import { MainChannel, type MainChannelInit, type MainChannelMessage } from "./main_channel.ts";

libc(); // opening it takes 10 ms: before the thread says that it is ready
runWorkerThread<MainChannelInit, MainChannelMessage>((init, tell) => {
  // Behind the fault worker and the guest.
  becomeBackgroundThread();
  using channel = new MainChannel(init, tell);
  channel.read();
});
