import { libc } from "../../ffi/libc.ts";
import { becomeBackgroundThread } from "../../ffi/scheduling.ts";
import { signalEvent } from "../../ffi/eventfd.ts";
import { runWorkerThread } from "../../migration/threads/worker_thread.ts";
import { BackgroundSender, type BackgroundSenderInit } from "./background_sender.ts";

/** The first message of this thread. */
export interface BackgroundThreadInit extends BackgroundSenderInit {
  /** Ends the return-path worker's waits. */
  readonly returnPathWakeFd: number;
}

libc(); // opening it takes 10 ms: before the thread says that it is ready
runWorkerThread<BackgroundThreadInit, never>((init) => {
  // Behind every urgent thread, before nothing.
  becomeBackgroundThread();
  using sender = new BackgroundSender(init);
  if (sender.sendPages() && sender.sendEnd()) signalEvent(init.returnPathWakeFd);
});
