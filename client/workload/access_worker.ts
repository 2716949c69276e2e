/** Worker entry: one thread of a workload. */

import { pinThread } from "../../ffi/scheduling.ts";
import { type AccessJob, AccessThread } from "./access_thread.ts";
import { serveJobs } from "./job_worker.ts";

serveJobs((job: AccessJob): void => {
  const { cpus } = job.settings;
  if (cpus.length > 0) pinThread(cpus[job.thread % cpus.length]!);
  new AccessThread(job).run();
});
