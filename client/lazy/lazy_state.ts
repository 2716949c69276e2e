/** What the control plane of one session and its task share. */

import { SharedLayout } from "../../migration/threads/shared_layout.ts";

const layout = new SharedLayout();
const Flag = layout.words("STOP", "ASKED", "ALONE");
/** Figures of a session; its task alone writes them. */
export const LazyCounter = layout.numbers(
  "FAULTS",
  "URGENT_PAGES",
  "BACKGROUND_PAGES",
  "REMOVALS",
  "PARKED",
  "POISONED",
  "WAITING",
);
/** See {@linkcode LazyCounter}. */
export type LazyCounter = typeof LazyCounter[keyof typeof LazyCounter];

/** A flag and figures in shared memory. Every thread makes its own from the same buffer. */
export class LazyState {
  /** The shared memory behind it. */
  readonly buffer: SharedArrayBuffer;
  readonly #flags: Int32Array;
  readonly #numbers: Float64Array;

  /** @param buffer shared memory of another thread's state; without it, new */
  constructor(buffer?: SharedArrayBuffer) {
    this.buffer = buffer ?? new SharedArrayBuffer(layout.bytes);
    this.#flags = new Int32Array(this.buffer);
    this.#numbers = new Float64Array(this.buffer);
  }

  /** Tells the task to end; its eventfd must be signalled too. */
  stop(): void {
    Atomics.store(this.#flags, Flag.STOP, 1);
  }

  /** True once it was told to end. */
  get stopped(): boolean {
    return Atomics.load(this.#flags, Flag.STOP) === 1;
  }

  /** Tells the task that nobody holds its processes any more. */
  beAlone(): void {
    Atomics.store(this.#flags, Flag.ALONE, 1);
  }

  /** True once nobody holds them. */
  get alone(): boolean {
    return Atomics.load(this.#flags, Flag.ALONE) === 1;
  }

  /**
   * Asks the task to say when it has read all events that are there now; its eventfd must be signalled too.
   *
   * @returns the question's number
   */
  ask(): number {
    return Atomics.add(this.#flags, Flag.ASKED, 1) + 1;
  }

  /** The number of the last question; 0: none. */
  get asked(): number {
    return Atomics.load(this.#flags, Flag.ASKED);
  }

  /** Task: changes a figure. */
  add(counter: LazyCounter, change: number): void {
    this.#numbers[counter]! += change;
  }

  /** Task: sets a figure. */
  set(counter: LazyCounter, value: number): void {
    this.#numbers[counter] = value;
  }

  /** Returns a figure. */
  get(counter: LazyCounter): number {
    return this.#numbers[counter]!;
  }
}
