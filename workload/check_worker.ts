/** Worker entry: checks a part of a guest's memory. */

import { runWorkerThread } from "../migration/threads/worker_thread.ts";
import { type CheckedPart, type CheckJob, checkPages } from "./check.ts";

runWorkerThread<CheckJob, CheckedPart>((job, tell) => tell(checkPages(job)));
