/** What the two kinds of threads of the stress test agree on. */

import { Shared, type WorkRingsShape } from "../../migration/threads/work_ring.ts";
import { Random } from "../support/random.ts";
import { giveWay } from "./barrier.ts";

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
  /** Until the other side is about to sleep, which it must be certain to do; default never. */
  readonly asleep?: number;
}

/** What every thread is told. */
export interface Job {
  readonly shape: WorkRingsShape;
  readonly buffer: SharedArrayBuffer;
  readonly seed: number;
  readonly pauses: Pauses;
}

const { notify, wait } = Atomics;
let wakes = 0;

/** Counts from now on how often this thread finds another asleep, or about to be, and wakes it. */
export function countWakes(): () => number {
  wakes = 0;
  Atomics.notify = ((...args: Parameters<typeof notify>) => {
    wakes++;
    return notify(...args);
  }) as typeof notify;
  return () => wakes;
}

/** Waits until whoever owns the flag is about to sleep on it, or the rings were stopped. */
export function awaitAsleep(words: Int32Array, flag: number): void {
  for (let turn = 1; Atomics.load(words, flag) === 0; turn++) {
    if (Atomics.load(words, Shared.STOPPED) !== 0) return;
    if ((turn & 0x3ff) === 0) giveWay();
  }
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

  /** Goes on at once, or when the owner of a flag is about to sleep on it. */
  pauseUntilAsleep(words: Int32Array, flag: number): void {
    const { asleep = 0 } = this.#pauses;
    if (asleep > 0 && this.#random.u32() % asleep === 0) awaitAsleep(words, flag);
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
