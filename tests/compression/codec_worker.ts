/** Worker entry: does one {@linkcode CodecJob}. */

import { runWorkerThread } from "../../migration/threads/worker_thread.ts";
import { type CodecJob, moveThrough } from "./codec_jobs.ts";

runWorkerThread<CodecJob, never>(moveThrough);
