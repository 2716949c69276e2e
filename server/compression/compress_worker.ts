/** Entry of a compression thread. */

import { libc } from "../../ffi/libc.ts";
import { becomeBackgroundThread } from "../../ffi/scheduling.ts";
import { runWorkerThread } from "../../migration/threads/worker_thread.ts";
import {
  compressPages,
  type PageCompressorInit,
  type PageCompressorMessage,
} from "./page_compressor.ts";

libc(); // opening it takes 10 ms: before the thread says that it is ready
runWorkerThread<PageCompressorInit, PageCompressorMessage>((init, tell) => {
  becomeBackgroundThread();
  compressPages(init, tell);
});
