/** What the two kinds of threads of the stress test agree on. */

import type { WorkRingsShape } from "../../migration/threads/work_ring.ts";
import { Random } from "../support/random.ts";

/** Words of a slot in the stress test: the number of the request, then what it is worth. */
export const WORDS = 8;

/** Marks a result. */
export const ANSWER = 0x0a11_5e7d;

/** One time in how many requests a thread pauses; 0: never. */
export interface Pauses {
  /** For up to some microseconds, awake. */
  readonly short: number;
  /** For a millisecond, which lets all others run out of work. */
  readonly long: number;
}

/** What every thread is told. */
export interface Job {
  readonly shape: WorkRingsShape;
  readonly buffer: SharedArrayBuffer;
  readonly seed: number;
  readonly pauses: Pauses;
}

/** A thread's part on the clock: how often it slept on a ring until it was notified. */
export interface Slept {
  readonly slept: number;
}

const { wait } = Atomics;
let slept = 0;

/** Counts from now on how often this thread sleeps in `Atomics.wait`, and is woken. */
export function countSleeps(): () => number {
  slept = 0;
  Atomics.wait = ((...args: Parameters<typeof wait>) => {
    const outcome = wait(...args);
    if (outcome === "ok") slept++;
    return outcome;
  }) as typeof wait;
  return () => slept;
}

/** Pauses at random. */
export class Pauser {
  readonly #random: Random;
  readonly #pauses: Pauses;
  readonly #word = new Int32Array(new SharedArrayBuffer(4));

  constructor({ seed, pauses }: Job) {
    this.#random = new Random(seed);
    this.#pauses = pauses;
  }

  /** Goes on at once, or a little later. */
  pause(): void {
    const { short, long } = this.#pauses;
    if (short > 0 && this.#random.u32() % short === 0) {
      for (let turn = this.#random.u32() & 0x3ff; turn > 0; turn--) Atomics.load(this.#word, 0);
    }
    if (long > 0 && this.#random.u32() % long === 0) wait(this.#word, 0, 0, 1);
  }
}

/** Answers a thread's jobs, one after the other. */
export function serveJobs<J, R>(work: (job: J) => R): void {
  const scope = self as unknown as {
    onmessage: (event: MessageEvent<J>) => void;
    postMessage(report: R): void;
  };
  scope.onmessage = ({ data }) => scope.postMessage(work(data));
}
