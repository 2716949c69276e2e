/** Worker entry: one thread of a stress of the benchmark's mutex and condition. */

import { runWorkerThread } from "../../migration/threads/worker_thread.ts";
import { doLockJob, type LockJob } from "./lock_jobs.ts";

runWorkerThread<LockJob, never>((job) => doLockJob(job));
