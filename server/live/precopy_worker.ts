import { libc } from "../../ffi/libc.ts";
import { runWorkerThread } from "../../migration/threads/worker_thread.ts";
import { type PrecopyInit, type PrecopyMessage, PrecopySender } from "./precopy_sender.ts";

libc(); // opening it takes 10 ms: before the thread says that it is ready
runWorkerThread<PrecopyInit, PrecopyMessage>((init, tell) => {
  using sender = new PrecopySender(init, tell);
  sender.run();
});
