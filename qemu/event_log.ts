/**
 * A growing list that one can wait on: QMP events, serial lines.
 *
 * @module
 */

/** Milliseconds after which a wait gives up, so that a test that goes wrong ends with a reason. */
export const WAIT_DEADLINE_MS = 60_000;

/** How a wait looks at the list. */
export interface WaitOptions {
  /** Index of the first item that counts. Default 0: what is already there counts too. */
  since?: number;
  /** Milliseconds after which the wait fails. Default {@linkcode WAIT_DEADLINE_MS}. */
  deadlineMs?: number;
}

/** Items in the order of their arrival, until an end. */
export class EventLog<T> {
  readonly #items: T[] = [];
  readonly #waiters = new Set<() => void>();
  #end: Error | undefined;

  /** Everything that has arrived so far. */
  get items(): readonly T[] {
    return this.#items;
  }

  /** Appends an item and resumes whoever waited for it. */
  push(item: T): void {
    this.#items.push(item);
    for (const check of [...this.#waiters]) check();
  }

  /** Says that no item follows: present and future waits that find none fail with this error. */
  end(reason: Error): void {
    this.#end ??= reason;
    for (const check of [...this.#waiters]) check();
  }

  /**
   * Waits for the first item that fulfils a condition.
   *
   * @param what Name of what is awaited, for the error.
   * @param matches The condition.
   * @param options Where to begin and when to give up.
   * @returns The item.
   * @throws {Error} When the list ends or the deadline passes without such an item.
   */
  wait(what: string, matches: (item: T) => boolean, options: WaitOptions = {}): Promise<T> {
    const { since = 0, deadlineMs = WAIT_DEADLINE_MS } = options;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    let next = since;
    const check = (): void => {
      while (next < this.#items.length) {
        const item = this.#items[next++]!;
        if (matches(item)) {
          settle();
          return resolve(item);
        }
      }
      if (this.#end !== undefined) {
        settle();
        reject(new Error(`Ended before ${what}: ${this.#end.message}`, { cause: this.#end }));
      }
    };
    const settle = (): void => {
      clearTimeout(timer);
      this.#waiters.delete(check);
    };
    const timer = setTimeout(() => {
      settle();
      reject(new Error(`Waited ${deadlineMs} ms in vain for ${what}`));
    }, deadlineMs);
    this.#waiters.add(check);
    check();
    promise.catch(() => {}); // a wait that its test gave up must not end the process
    return promise;
  }
}
