/** Worker entry of the stress test: submits requests and takes results until all are there, or it is stopped. */

import { Own, Shared } from "../../migration/threads/work_ring.ts";
import { WorkRings } from "../../migration/threads/work_rings.ts";
import { Random } from "../support/random.ts";
import { ANSWER, countWakes, type Job, Pauser, serveJobs, WORDS } from "./work_ring_jobs.ts";

/** The submitter's part in a run. */
export interface SubmitJob extends Job {
  readonly requests: number;
  /** Whether it waits for each result before it submits again. */
  readonly oneByOne: boolean;
}

/** How it went. */
export interface SubmitReport {
  /** Results taken. */
  readonly taken: number;
  /** Requests taken back from the dead. */
  readonly abandoned: number;
  /** Requests that it answered itself, when no worker was left. */
  readonly own: number;
  /** How often it woke a worker. */
  readonly wakes: number;
}

// Far longer than any result takes: a wake-up was lost.
const LOST = 60_000;

serveJobs((job: SubmitJob): SubmitReport => {
  const { shape, requests, oneByOne } = job;
  const wakes = countWakes();
  const random = new Random(job.seed ^ 0x55);
  const pauser = new Pauser(job);
  const rings = new WorkRings(shape, job.buffer);
  const words = rings.words;
  const perWorker = rings.slots / shape.workers;
  /** Which request is in each slot, and in which order each worker's slots come back. */
  const given = new Int32Array(rings.slots).fill(-1);
  const comesNext = Array.from({ length: shape.workers }, (_, worker) => worker * perWorker);
  const answers = new Uint8Array(requests);
  const again: number[] = [];
  let fresh = 0;
  let [taken, abandoned, own] = [0, 0, 0];

  const back = (slot: number): number => {
    const worker = Math.floor(slot / perWorker);
    if (slot !== comesNext[worker]) {
      throw new Error(`Slot ${slot} came back in place of: ${comesNext[worker]}`);
    }
    comesNext[worker] = worker * perWorker + (slot + 1) % perWorker;
    const id = given[slot]!;
    given[slot] = -1;
    if (id < 0) throw new Error(`Nothing was submitted in slot: ${slot}`);
    return id;
  };
  const takeAll = (): void => {
    for (let slot = rings.take(); slot >= 0; slot = rings.take()) {
      const id = back(slot);
      const at = rings.at(slot);
      if (words[at] !== id) throw new Error(`Request ${id} came back as: ${words[at]}`);
      for (let word = 1; word < WORDS; word++) {
        if (words[at + word] === (id ^ ANSWER)) continue;
        throw new Error(`Word ${word} of the answer to ${id} is: ${words[at + word]}`);
      }
      answers[id]!++;
      taken++;
      if (random.oneIn(3)) rings.release();
    }
    rings.release();
  };
  const takeBack = (): void => {
    for (let slot = rings.abandoned(); slot >= 0; slot = rings.abandoned()) {
      again.push(back(slot));
      abandoned++;
    }
  };
  const wait = (): void => {
    const began = performance.now();
    rings.awaitResult(LOST);
    if (performance.now() - began > LOST - 100) {
      throw new Error(`A wake-up was lost: ${rings.outstanding} requests are outstanding`);
    }
  };

  // No more than this at once, so that the workers run dry at times.
  let most = rings.slots;
  while (taken + own < requests && !rings.stopped) {
    const left = fresh < requests || again.length > 0;
    const slot = left && rings.outstanding < most ? rings.reserve() : -1;
    if (slot >= 0) {
      const at = rings.at(slot);
      const id = again.pop() ?? fresh++;
      for (let word = 0; word < WORDS; word++) words[at + word] = id + word;
      given[slot] = id;
      const worker = Math.floor(slot / perWorker);
      pauser.pauseUntilAsleep(words, Shared.WORKERS + worker * Own.WORDS + Own.ASLEEP);
      rings.submit();
      pauser.pause();
      if (!oneByOne) continue;
    } else if (left && rings.outstanding === 0) {
      // Nobody is there, or no longer.
      const id = again.pop() ?? fresh++;
      answers[id]!++;
      own++;
    }
    wait();
    takeAll();
    takeBack();
    most = random.oneIn(16) ? random.between(1, rings.slots) : rings.slots;
  }
  const whole = taken + own === requests;
  const wrong = answers.findIndex((count) => count > 1 || (whole && count === 0));
  if (wrong >= 0) throw new Error(`Request ${wrong} was answered so often: ${answers[wrong]}`);
  if (whole && rings.outstanding > 0) throw new Error(`Outstanding: ${rings.outstanding}`);
  return { taken, abandoned, own, wakes: wakes() };
});
