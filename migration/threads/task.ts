/** What a pool's thread runs: many tasks, each of which never waits by itself. */

/**
 * One session's work of one kind. A step does what can be done without waiting; what it waits for it says
 * to its {@linkcode TaskPoll} before it returns. Only what everybody pays for is done in one step: a batch
 * of pages, a piece of input, some requests.
 */
export interface Task extends Disposable {
  /**
   * Does what can be done now.
   *
   * @returns true when the task is done; it is disposed of then
   * @throws what ends the task, and nothing but this task
   */
  step(): boolean;
}

/** How a task tells its owner something. */
export type Tell<M> = (message: M) => void;

/** Makes a task on its thread. */
export type TaskMaker<I, M> = (init: I, tell: Tell<M>, poll: TaskPoll) => Task;

/** What a task waits for, and what was found: the poll of one task among all of its thread's. */
export interface TaskPoll {
  /**
   * Waits for a descriptor, from here on and as long as it is not changed. A descriptor must be taken out
   * before it is closed, and may be in one slot of a thread's tasks at most.
   *
   * @param slot a small number of the task's own choice
   * @param fd the descriptor, or -1 for none
   * @param events bits of `PollEvents`
   */
  watch(slot: number, fd: number, events: number): void;
  /** Returns the events found in a slot before this step; 0 for none. */
  ready(slot: number): number;
  /** Slots that were found ready before this step; 0 when only its time has come. */
  readonly found: number;
  /** The next step comes after so many nanoseconds at the latest; without it, when something is ready. */
  sleep(nanoseconds: number): void;
  /** The next step comes as soon as every other task that can go on had one. */
  again(): void;
  /** Until this time (monotonic nanoseconds) the thread looks again and again before it sleeps. */
  spinUntil(time: number): void;
}

/**
 * Work that is written down as one sequence, with a bare `yield` wherever it waits for what it told its
 * poll. One generator lives as long as its task; what is called for each page must be no generator.
 */
export type Steps<T = void> = Generator<void, T, void>;

/** A task made of a sequence. */
export class SequenceTask implements Task {
  readonly #steps: Steps;
  readonly #owner: Disposable;

  /**
   * @param steps the sequence
   * @param owner what is disposed of at the end
   */
  constructor(steps: Steps, owner: Disposable) {
    this.#steps = steps;
    this.#owner = owner;
  }

  /** Goes on to the next wait. */
  step(): boolean {
    return this.#steps.next().done === true;
  }

  /** Ends the sequence where it stands, with its `finally` blocks, and frees what it used. */
  [Symbol.dispose](): void {
    try {
      this.#steps.return();
    } finally {
      this.#owner[Symbol.dispose]();
    }
  }
}
