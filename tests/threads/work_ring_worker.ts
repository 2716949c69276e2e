/** Worker entry of the stress test: answers requests until it is stopped, or dies in the middle of one. */

import { Shared, WorkRing } from "../../migration/threads/work_ring.ts";
import {
  ANSWER,
  awaitAsleep,
  countWakes,
  type Job,
  Pauser,
  serveJobs,
  WORDS,
} from "./work_ring_jobs.ts";

/** One worker's part in a run. */
export interface WorkJob extends Job {
  readonly worker: number;
  /** It stops in the middle of this of its requests; -1: never. */
  readonly diesAt: number;
  /** The request that it answers only when the submitter is about to sleep; -1: none. */
  readonly last: number;
}

/** How it went. */
export interface WorkReport {
  /** Whether it left a request unfinished. */
  readonly died: boolean;
  readonly finished: number;
  /** How often it woke the submitter. */
  readonly wakes: number;
}

serveJobs((job: WorkJob): WorkReport => {
  const wakes = countWakes();
  const pauser = new Pauser(job);
  const ring = new WorkRing(job.shape, job.buffer, job.worker);
  const words = ring.words;
  let finished = 0;
  ring.enter();
  for (let slot = ring.next(); slot >= 0; slot = ring.next()) {
    const at = ring.at(slot);
    const id = words[at]!;
    for (let word = 1; word < WORDS; word++) {
      if (words[at + word] === id + word) continue;
      throw new Error(`Word ${word} of request ${id} came as: ${words[at + word]}`);
    }
    pauser.pause();
    for (let word = 1; word < WORDS; word++) {
      // Half an answer is in the slot.
      if (finished === job.diesAt && word > (id & 7)) {
        return { died: true, finished, wakes: wakes() };
      }
      words[at + word] = id ^ ANSWER;
    }
    if (finished === job.diesAt) return { died: true, finished, wakes: wakes() };
    if (id === job.last) awaitAsleep(words, Shared.ASLEEP);
    pauser.pauseUntilAsleep(words, Shared.ASLEEP);
    ring.finish();
    finished++;
  }
  return { died: false, finished, wakes: wakes() };
});
