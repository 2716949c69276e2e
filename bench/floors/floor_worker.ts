/** Worker entry: does one {@linkcode FloorJob} and tells its samples. */

import { runWorkerThread } from "../../migration/threads/worker_thread.ts";
import { receiveBulk, sendBulk } from "./bulk_stream.ts";
import { fillMemory, measureTouches, placeFaults } from "./fault_place_wake.ts";
import type { FloorThreadInit } from "./jobs.ts";
import { answerRequests, measureRequests } from "./request_reply.ts";

function work({ job, wakeFd }: FloorThreadInit): Float64Array | void {
  switch (job.name) {
    case "answer":
      return answerRequests(job.fd, wakeFd);
    case "request":
      return measureRequests(job.fd, wakeFd, job.count, job.warmUp);
    case "send-bulk":
      return sendBulk(job.fd, wakeFd, job.memoryBytes);
    case "receive-bulk":
      return receiveBulk(job.fd, wakeFd, new Float64Array(job.received));
    case "place":
      return placeFaults(job.uffd, wakeFd);
    case "touch":
      return measureTouches(job.address, job.pages, job.warmUp);
    case "fill":
      return fillMemory(job.uffd, job.address, job.length, job.batch);
  }
}

runWorkerThread<FloorThreadInit, Float64Array>((init, tell) => {
  const samples = work(init);
  if (samples !== undefined) tell(samples);
});
