/** Worker entry: fills a part of a guest's memory. */

import { runWorkerThread } from "../migration/threads/worker_thread.ts";
import { type FillJob, fillPages } from "./fill.ts";

runWorkerThread<FillJob, number>((job, tell) => {
  fillPages(job);
  tell(job.to - job.from);
});
