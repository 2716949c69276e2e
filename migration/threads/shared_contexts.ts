/** What the sessions on one thread can use in turn: made for the first, closed behind the last. */

/** A loan of a context. */
export interface Loan<T> extends Disposable {
  /** What was lent. */
  readonly context: T;
}

interface Entry<T> {
  readonly context: T;
  users: number;
}

/**
 * Contexts of one thread by the settings that they were made with: a hundred sessions that compress at the
 * same level have one, because nothing of a page stays in it.
 */
export class SharedContexts<T extends Disposable> {
  readonly #entries = new Map<string, Entry<T>>();

  /** How many there are. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * Lends a context until the loan is disposed of.
   *
   * @param settings what tells it from others
   * @param make makes one, when nobody has it
   * @throws what `make` throws
   */
  lend(settings: string, make: () => T): Loan<T> {
    const entry = this.#entries.get(settings) ?? { context: make(), users: 0 };
    entry.users++;
    this.#entries.set(settings, entry);
    let lent = true;
    return {
      context: entry.context,
      [Symbol.dispose]: () => {
        if (!lent) return;
        lent = false;
        if (--entry.users > 0) return;
        this.#entries.delete(settings);
        entry.context[Symbol.dispose]();
      },
    };
  }
}
