/** Worker entry: a thread of the reference model in its tests. */

import { runWorkerThread } from "../../migration/threads/worker_thread.ts";
import { doReferenceJob, type ReferenceJob } from "./reference_jobs.ts";

runWorkerThread<ReferenceJob, never>((job) => doReferenceJob(job));
