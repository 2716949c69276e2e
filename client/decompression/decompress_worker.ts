import { libc } from "../../ffi/libc.ts";
import { becomeBackgroundThread } from "../../ffi/scheduling.ts";
import { runWorkerThread } from "../../migration/threads/worker_thread.ts";
import type { DecompressorInit } from "./decompression.ts";
import { decompressPages } from "./decompressor.ts";

libc(); // opening it takes 10 ms: before the thread says that it is ready
runWorkerThread<DecompressorInit, never>((init) => {
  // Behind those that serve faults, and guests.
  becomeBackgroundThread();
  decompressPages(init);
});
