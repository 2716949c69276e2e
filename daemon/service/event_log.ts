/** What happened, in order, for whoever reads it: as much as is kept, at each reader's own pace. */

import type { LazyTreeEvent } from "../../client/lazy/criu/lazy_tree.ts";
import type { SessionStatus, SessionView } from "./session.ts";

/** What happens. */
export type ServiceEvent =
  /** A session began. */
  | { readonly event: "started"; readonly session: SessionView }
  /** It stands somewhere else. */
  | {
    readonly event: "status";
    readonly id: string;
    readonly status: SessionStatus;
    readonly reason?: string;
    readonly code?: string;
    readonly remedy?: string;
    readonly recover?: string;
  }
  /** The user should know it; `id` is absent where it is of no session. */
  | { readonly event: "note"; readonly id?: string; readonly text: string }
  /** Something happened to a process of a lazy session; `text` is the same in a sentence. */
  | {
    readonly event: "lazy";
    readonly id: string;
    readonly what: LazyTreeEvent;
    readonly text: string;
  }
  /** A session ended. */
  | { readonly event: "ended"; readonly session: SessionView }
  /** An ended session was forgotten. */
  | { readonly event: "forgotten"; readonly id: string }
  /** The configuration was read again. */
  | { readonly event: "reloaded" }
  /** The daemon takes no more sessions, and ends when nobody needs it. */
  | { readonly event: "draining" };

/** An event in the log. */
export interface LoggedEvent {
  /** Its number: those that follow have greater ones, also after a restart. */
  readonly id: number;
  /** When, in ISO 8601. */
  readonly time: string;
  readonly event: ServiceEvent;
}

/** What a reader gets. */
export interface EventBatch {
  /** Events that it should have read, and that are not kept any more. */
  readonly missed: number;
  readonly events: readonly LoggedEvent[];
}

/** Events that are kept, if nothing else is said. */
const CAPACITY = 4096;
/** A log's numbers begin with its time in microseconds: so they are greater than those of a daemon before it. */
const NUMBERS_A_MILLISECOND = 1000;

/** The last events. A reader holds nothing but a number: it costs nothing however slow it is. */
export class EventLog {
  readonly #capacity: number;
  readonly #first: number;
  readonly #kept: LoggedEvent[] = [];
  readonly #listeners = new Set<(event: LoggedEvent) => void>();
  #next: number;

  /** @param capacity events that are kept */
  constructor(capacity: number = CAPACITY) {
    this.#capacity = capacity;
    this.#first = this.#next = Date.now() * NUMBERS_A_MILLISECOND;
  }

  /** When it began, in milliseconds since 1970: whatever ended before, no event told of. */
  get since(): number {
    return this.#first / NUMBERS_A_MILLISECOND;
  }

  /** The number of the last event, or one below the first. */
  get last(): number {
    return this.#next - 1;
  }

  /** Adds an event, and tells it to those who listen. */
  add(event: ServiceEvent): void {
    const logged: LoggedEvent = { id: this.#next++, time: new Date().toISOString(), event };
    // The slot of the oldest: nothing is moved.
    this.#kept[(logged.id - this.#first) % this.#capacity] = logged;
    for (const listener of this.#listeners) listener(logged);
  }

  /**
   * Reads what came after an event.
   *
   * @param after its number; one of a daemon before this stands for all that is kept
   * @param most events to read at once
   */
  read(after: number, most: number = Infinity): EventBatch {
    const oldest = Math.max(this.#first, this.#next - this.#capacity);
    const from = Math.max(after + 1, oldest);
    // Of those before the first nobody knows how many there were.
    const missed = after < this.#first - 1 ? oldest - this.#first : from - after - 1;
    const events: LoggedEvent[] = [];
    for (let id = from; id < this.#next && events.length < most; id++) {
      events.push(this.#kept[(id - this.#first) % this.#capacity]!);
    }
    return { missed, events };
  }

  /**
   * Calls back for each event from now on, until it is disposed of. Who is called must neither wait nor throw.
   *
   * @param listener called with it
   */
  listen(listener: (event: LoggedEvent) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  /**
   * Resolves when there is an event after another.
   *
   * @param after its number
   * @param signal ends the wait: it resolves then too
   */
  async news(after: number, signal: AbortSignal): Promise<void> {
    if (this.last > after || signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    using _listening = this.listen(() => resolve());
    const onAbort = () => resolve();
    signal.addEventListener("abort", onAbort);
    try {
      await promise;
    } finally {
      // A signal may end many waits, one after the other, and live for an hour.
      signal.removeEventListener("abort", onAbort);
    }
  }
}
