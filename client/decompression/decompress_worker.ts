/** Entry of a thread that decompresses. */

import type { PageDecompressor } from "../../ffi/compression/codec.ts";
import { becomeBackgroundThread } from "../../ffi/scheduling.ts";
import { runPoolThread } from "../../migration/threads/pool_thread.ts";
import { SharedContexts } from "../../migration/threads/shared_contexts.ts";
import type { TaskMaker } from "../../migration/threads/task.ts";
import { ThreadTime } from "../../migration/threads/thread_time.ts";
import type { DecompressorInit } from "./decompression.ts";
import { DECOMPRESS_TASK, decompressPages } from "./decompressor.ts";

const decompressors = new SharedContexts<PageDecompressor>();
const time = new ThreadTime();
const make: TaskMaker<DecompressorInit, never> = (init, _, poll) =>
  decompressPages(init, poll, decompressors, time);
// Behind those that serve faults, and guests.
runPoolThread({ [DECOMPRESS_TASK.name]: make }, becomeBackgroundThread);
