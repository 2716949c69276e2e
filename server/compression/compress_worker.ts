/** Entry of a thread that compresses. */

import type { PageCompressor } from "../../ffi/compression/codec.ts";
import { becomeBackgroundThread } from "../../ffi/scheduling.ts";
import { runPoolThread } from "../../migration/threads/pool_thread.ts";
import { SharedContexts } from "../../migration/threads/shared_contexts.ts";
import type { TaskMaker } from "../../migration/threads/task.ts";
import { ThreadTime } from "../../migration/threads/thread_time.ts";
import {
  COMPRESS_TASK,
  compressPages,
  type PageCompressorInit,
  type PageCompressorMessage,
} from "./page_compressor.ts";

const compressors = new SharedContexts<PageCompressor>();
const time = new ThreadTime();
const make: TaskMaker<PageCompressorInit, PageCompressorMessage> = (init, tell, poll) =>
  compressPages(init, tell, poll, compressors, time);
runPoolThread({ [COMPRESS_TASK.name]: make }, becomeBackgroundThread);
