/** One listener of an address space. */

import { type Difference, difference } from "./difference.ts";
import { EMPTY_VIEW, type FlatView } from "./flat_view.ts";
import type { MemoryStatistics } from "./memory_core.ts";
import type { MemoryListener } from "./memory_listener.ts";
import { MemoryRegionError } from "./memory_region_error.ts";

/** How often a listener may change what it is told of, before it is taken for a loop. */
export const MOST_ROUNDS = 1000;

/**
 * Keeps the view that a listener knows. What it is told is always the difference from there: a change
 * made by a listener in one of its calls is told to each when it is not inside a call, in one step
 * with others or alone, but never out of order.
 */
export class Subscription {
  readonly #listener: MemoryListener;
  readonly #space: string;
  readonly #statistics: MemoryStatistics;
  #known: FlatView = EMPTY_VIEW;
  #busy = false;
  #closed = false;

  /**
   * @param listener who is told
   * @param space the address space's name, for messages
   * @param statistics where calls are counted
   */
  constructor(listener: MemoryListener, space: string, statistics: MemoryStatistics) {
    this.#listener = listener;
    this.#space = space;
    this.#statistics = statistics;
  }

  /**
   * Tells the listener what it does not know yet.
   *
   * @param present returns what is where
   * @param compare finds the difference
   * @param errors takes what it throws
   */
  bring(present: () => FlatView, compare: typeof difference, errors: unknown[]): void {
    // Inside one of its calls, which changed something: the loop below goes on when that returns.
    if (this.#busy) return;
    this.#busy = true;
    for (let rounds = 0;; rounds++) {
      const next = this.#closed ? EMPTY_VIEW : present();
      if (next === this.#known) break;
      if (rounds === MOST_ROUNDS) {
        errors.push(listenerLoop(this.#space));
        break;
      }
      const found = compare(this.#known, next);
      this.#known = next;
      if (found !== undefined) this.#tell(found, errors);
    }
    this.#busy = false;
  }

  /** Tells the listener that everything is gone, for good. */
  close(errors: unknown[]): void {
    this.#closed = true;
    this.bring(() => EMPTY_VIEW, difference, errors);
  }

  #tell(found: Difference, errors: unknown[]): void {
    const { removed, present, isNew, removedEvents, addedEvents } = found;
    this.#call("begin", undefined, errors);
    for (const event of removedEvents) this.#call("eventDel", event, errors);
    for (const range of removed) this.#call("regionDel", range, errors);
    this.#tellRanges(present, isNew, errors);
    for (const event of addedEvents) this.#call("eventAdd", event, errors);
    this.#call("commit", undefined, errors);
  }

  /** Every range of the view: called directly, since a call by name takes twice as long (64 devices). */
  #tellRanges(present: Difference["present"], isNew: Difference["isNew"], errors: unknown[]): void {
    const listener = this.#listener;
    const adds = listener.regionAdd !== undefined;
    const nops = listener.regionNop !== undefined;
    let calls = 0;
    for (let index = 0; index < present.length; index++) {
      const fresh = isNew[index] === 1;
      if (fresh ? !adds : !nops) continue;
      calls++;
      try {
        if (fresh) listener.regionAdd!(present[index]!);
        else listener.regionNop!(present[index]!);
      } catch (error) {
        errors.push(error);
      }
    }
    this.#statistics.listenerCalls += calls;
  }

  #call(name: keyof MemoryListener, argument: unknown, errors: unknown[]): void {
    const listener = this.#listener as AnyListener;
    if (listener[name] === undefined) return;
    this.#statistics.listenerCalls++;
    try {
      listener[name](argument);
    } catch (error) {
      errors.push(error);
    }
  }
}

/** A listener whose functions are all called alike. */
type AnyListener = { readonly [name in keyof MemoryListener]: (argument: unknown) => void };

/** Makes the error for listeners that never come to rest. */
export function listenerLoop(space: string): MemoryRegionError {
  return new MemoryRegionError(
    "LISTENER_LOOP",
    `Listeners changed ${space} again in each of ${MOST_ROUNDS} commits: ` +
      `let them change nothing when nothing changed for them`,
    [space],
  );
}
