/** The poll of a task whose steps a test makes one by one. */

import { PollSet } from "../../ffi/poll.ts";
import type { TaskPoll } from "../../migration/threads/task.ts";

/** A poll of one task, on the test's thread. */
export class HandPoll implements TaskPoll {
  readonly #set: PollSet;
  found = 0;
  /** Whether the task wants another step at once. */
  wantsTurn = false;
  /** Nanoseconds after which it wants one. */
  patience = Infinity;

  /** @param slots how many the task has, at most */
  constructor(slots = 16) {
    this.#set = new PollSet(slots);
  }

  watch(slot: number, fd: number, events: number): void {
    this.#set.watch(slot, fd, events);
  }

  ready(slot: number): number {
    return this.#set.ready(slot);
  }

  sleep(nanoseconds: number): void {
    this.patience = nanoseconds;
  }

  again(): void {
    this.wantsTurn = true;
  }

  spinUntil(): void {}

  /** Waits for what the task waits for. */
  wait(milliseconds: number): void {
    const most = Math.min(milliseconds, this.patience / 1e6);
    this.found = this.#set.wait(this.wantsTurn ? 0 : Math.ceil(most));
    this.wantsTurn = false;
    this.patience = Infinity;
  }

  /** Looks without a wait. */
  look(): void {
    this.found = this.#set.wait(0);
    this.wantsTurn = false;
    this.patience = Infinity;
  }
}
