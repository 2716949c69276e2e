/** Worker entry: one thread of a workload. */

import { pinThread } from "../ffi/scheduling.ts";
import { runWorkerThread } from "../migration/threads/worker_thread.ts";
import { type AccessJob, AccessThread } from "./access_thread.ts";

runWorkerThread<AccessJob, never>((job) => {
  const { cpus } = job.settings;
  if (cpus.length > 0) pinThread(cpus[job.thread % cpus.length]!);
  new AccessThread(job).run();
});
