/** What a session costs a thread that it shares with others. */

import { threadCpuNanoseconds } from "../../ffi/clock.ts";
import type { Task } from "./task.ts";

/** A task that tells its processor time, which is two system calls a step: for steps that send batches. */
export class MeasuredTask implements Task {
  readonly #task: Task;
  readonly #tell: (nanoseconds: number) => void;
  #used = 0;

  /**
   * @param task what is done
   * @param tell called after each step with what all steps so far took, in nanoseconds
   */
  constructor(task: Task, tell: (nanoseconds: number) => void) {
    this.#task = task;
    this.#tell = tell;
  }

  /** Makes the task's step. */
  step(): boolean {
    const before = threadCpuNanoseconds();
    try {
      return this.#task.step();
    } finally {
      this.#used += threadCpuNanoseconds() - before;
      this.#tell(this.#used);
    }
  }

  [Symbol.dispose](): void {
    this.#task[Symbol.dispose]();
  }
}
