/** All address spaces of a machine, and the transactions that change them. */

import { Changes } from "./changes.ts";
import { FlatViews } from "./flat_views.ts";
import { MemoryRegionError } from "./memory_region_error.ts";
import { throwErrors } from "./thrown.ts";

/** How a {@linkcode MemoryCore} works. */
export interface MemoryCoreOptions {
  /**
   * Whether a flat view that is read while its address space has changes pending throws
   * `StaleViewError`; default false.
   */
  readonly debug?: boolean;
}

/** What has been done since the machine was made, or since `resetStatistics()`. */
export interface MemoryStatistics {
  /** Times that changes were made visible. */
  commits: number;
  /** Those of them inside of a transaction, because a flat view was asked for or by `commit()`. */
  forced: number;
  /** Flat views built. */
  rebuilds: number;
  /** Calls of listeners' functions. */
  listenerCalls: number;
  /** Nanoseconds spent in commits, with their listeners. */
  commitTime: number;
}

/**
 * The memory of one machine: it notes what has changed, and rebuilds the flat views that can see it
 * when the outermost transaction ends.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { AddressSpace } from "./address_space.ts";
 * import { MemoryCore } from "./memory_core.ts";
 * import { MemoryRegion } from "./memory_region.ts";
 *
 * const core = new MemoryCore();
 * const system = MemoryRegion.container(core, "system", 2 ** 40);
 * const memory = new AddressSpace(core, "memory", system);
 * core.resetStatistics();
 * core.transaction(() => {
 *   for (let bar = 0; bar < 16; bar++) {
 *     system.add(MemoryRegion.io(core, `bar ${bar}`, 4096), bar * 8192);
 *   }
 * });
 * assertEquals(memory.flatView().ranges.length, 16);
 * assertEquals(core.statistics.commits, 1);
 * ```
 */
export class MemoryCore {
  /** See {@linkcode MemoryCoreOptions.debug}. */
  readonly debug: boolean;
  /**
   * What regions and address spaces tell of themselves; for them alone.
   *
   * @internal
   */
  readonly changes: Changes = new Changes();
  /** What has been done so far; counted on in place: copy it to compare. */
  readonly statistics: MemoryStatistics = noStatistics();
  readonly #views = new FlatViews();
  #depth = 0;
  #committing = false;

  /**
   * Makes a core without address spaces.
   *
   * @param options how it works
   */
  constructor(options: MemoryCoreOptions = {}) {
    this.debug = options.debug ?? false;
  }

  /** Transactions that are open, one inside the other. */
  get depth(): number {
    return this.#depth;
  }

  /** Whether something has changed that some address space can see and does not show yet. */
  get pending(): boolean {
    return this.changes.pending;
  }

  /** Counts from zero again. */
  resetStatistics(): void {
    Object.assign(this.statistics, noStatistics());
  }

  /**
   * Makes changes and commits them together when the outermost transaction ends. When `change` throws,
   * what it changed before is kept and committed, and the error is thrown on.
   *
   * @param change makes the changes; not asynchronous: the transaction ends when it returns
   * @returns what `change` returned
   * @throws what `change` or a listener throws; an AggregateError when several do
   */
  transaction<T>(change: () => T): T {
    const errors: unknown[] = [];
    let result: T | undefined;
    this.#depth++;
    try {
      result = change();
      checkSynchronous(result);
    } catch (error) {
      errors.push(error);
    }
    this.#depth--;
    if (this.#depth === 0) this.#commit(errors);
    throwErrors(errors, "A memory transaction and its commit failed");
    return result as T;
  }

  /**
   * Commits what has changed so far, also inside of a transaction, where it is counted as forced.
   *
   * @throws what a listener throws, when all have been called; an AggregateError when several do
   */
  commit(): void {
    const errors: unknown[] = [];
    this.#commit(errors);
    throwErrors(errors, "Several listeners failed in a commit of memory changes");
  }

  /** Commits unless a transaction is open. For regions and address spaces, after each change. */
  changed(): void {
    if (this.#depth === 0) this.commit();
  }

  #commit(errors: unknown[]): void {
    if (!this.changes.pending) return;
    // A listener that changes something commits inside of a commit: its time is counted already.
    const outermost = !this.#committing;
    const started = outermost ? performance.now() : 0;
    this.#committing = true;
    const { statistics } = this;
    statistics.commits++;
    if (this.#depth > 0) statistics.forced++;
    // All views are exchanged before the first listener is called: none sees old and new ones.
    const spaces = this.#views.update(this.changes, statistics, errors);
    for (const space of spaces) space.notify(errors);
    if (!outermost) return;
    this.#committing = false;
    statistics.commitTime += Math.round((performance.now() - started) * 1e6);
  }
}

function noStatistics(): MemoryStatistics {
  return { commits: 0, forced: 0, rebuilds: 0, listenerCalls: 0, commitTime: 0 };
}

function checkSynchronous(result: unknown): void {
  if (typeof (result as PromiseLike<unknown> | undefined)?.then !== "function") return;
  throw new MemoryRegionError(
    "ASYNCHRONOUS",
    "Memory transaction given an asynchronous function: it ends at the first await: " +
      "wait before the transaction, and change regions in a plain function",
  );
}
