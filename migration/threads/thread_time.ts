/** Processor time of a thread, divided among those whose turns it runs. */

import { threadCpuNanoseconds } from "../../ffi/clock.ts";

/** Whoever is told what it used, in nanoseconds. */
export interface TimeUser {
  /** Called now and then, with what was used since. */
  addCpuTime(nanoseconds: number): void;
}

/** Turns of one user in a row between two looks: a look is a system call of 0.3 us. */
const TURNS_BETWEEN_LOOKS = 16;

/** The clock of one thread. */
export class ThreadTime {
  #user: TimeUser | undefined;
  #since = 0;
  #turns = 0;

  /** A user's turn begins; what was used until now was the one's before, if that has not ended its own. */
  begin(user: TimeUser): void {
    if (this.#user === user && ++this.#turns < TURNS_BETWEEN_LOOKS) return;
    this.#look();
    this.#user = user;
    this.#turns = 0;
  }

  /** A user has nothing more to do: what the thread uses from here on, for a while, is nobody's. */
  end(user: TimeUser): void {
    if (this.#user !== user) return;
    this.#look();
    this.#user = undefined;
  }

  #look(): void {
    const now = threadCpuNanoseconds();
    this.#user?.addCpuTime(now - this.#since);
    this.#since = now;
  }
}
