/** Worker entry: checks a part of a guest's memory. */

import { runWorkerThread } from "../../migration/threads/worker_thread.ts";
import { type CheckJob, checkPages, type CheckResult } from "./check.ts";

runWorkerThread<CheckJob, CheckResult>((job, tell) => tell(checkPages(job)));
