/** Worker entry: asks for a request just when it comes, and finishes it just when it is waited for. */

import { WorkRing } from "../../migration/threads/work_ring.ts";
import { Barrier } from "./barrier.ts";
import { type Job, serveJobs } from "./work_ring_jobs.ts";

/** What the thread is told. */
export interface RaceJob extends Pick<Job, "shape" | "buffer"> {
  readonly barrier: SharedArrayBuffer;
}

serveJobs(({ shape, buffer, barrier }: RaceJob): number => {
  const ring = new WorkRing(shape, buffer, 0);
  const both = new Barrier(barrier, 1);
  let rounds = 0;
  ring.enter();
  while (both.meet()) {
    if (ring.next() < 0 || !both.meet()) break;
    ring.finish();
    rounds++;
  }
  return rounds;
});
