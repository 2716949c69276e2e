/** Whose turn it is to fill memory that nobody waits for, among the sessions of a thread. */

/** A session that fills. */
export interface Filler {
  /** Has it make a step as soon as every other task that can go on had one. */
  again(): void;
}

/**
 * Gives one session of a thread a turn at a time. Were all to fill at each of their steps, a fault would wait
 * for a batch of every other session, 25 us each; so it waits for one.
 */
export class FillTurns {
  readonly #waiting: Filler[] = [];

  /** Asks for a turn; a second time does nothing. */
  join(filler: Filler): void {
    if (this.#waiting.includes(filler)) return;
    this.#waiting.push(filler);
    if (this.#waiting.length === 1) filler.again();
  }

  /** Whether this session may fill now. */
  has(filler: Filler): boolean {
    return this.#waiting[0] === filler;
  }

  /** It has filled, or cannot now: the next one's turn. Who wants another turn asks again. */
  leave(filler: Filler): void {
    const index = this.#waiting.indexOf(filler);
    if (index < 0) return;
    this.#waiting.splice(index, 1);
    if (index === 0) this.#waiting[0]?.again();
  }
}
