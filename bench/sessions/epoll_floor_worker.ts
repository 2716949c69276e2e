/** Worker entry: one end's thread of the floor with many connections. */

import { runWorkerThread } from "../../migration/threads/worker_thread.ts";
import { answerAll, askInTurn } from "./epoll_floor.ts";
import type { Walk } from "./walk.ts";

/** What the thread does. */
export type EpollFloorJob =
  | { readonly name: "answer"; readonly fds: readonly number[]; readonly wakeFd: number }
  | { readonly name: "ask"; readonly fds: readonly number[]; readonly walk: Walk };

runWorkerThread<EpollFloorJob, Float64Array>((job, tell) => {
  if (job.name === "answer") answerAll(job.fds, job.wakeFd);
  else tell(askInTurn(job.fds, job.walk));
});
