/** Worker entry: does one {@linkcode DirtyJob} and tells its figures. */

import { pinThread } from "../../ffi/scheduling.ts";
import type { Tell } from "../../migration/threads/task.ts";
import { runWorkerThread } from "../../migration/threads/worker_thread.ts";
import { collectAtIntervals } from "./collector.ts";
import type { DirtyJob, DirtyReport } from "./jobs.ts";
import { writeContinuously, writePasses } from "./writer.ts";

runWorkerThread<DirtyJob, DirtyReport>((job, tell) => {
  if (job.cpu >= 0 && !pinThread(job.cpu)) throw new Error(`Cannot pin to CPU: ${job.cpu}`);
  work(job, tell);
});

function work(job: DirtyJob, tell: Tell<DirtyReport>): void {
  switch (job.name) {
    case "write":
      return tell({ name: "samples", samples: writeContinuously(job) });
    case "collect":
      return tell({
        name: "samples",
        samples: collectAtIntervals(job, () => tell({ name: "tracking" })),
      });
    case "pass":
      return tell({ name: "passes", passes: writePasses(job) });
  }
}
