/** When a paused migration tries to connect again. */

import { Errno, SyscallError } from "../../ffi/errno.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { untilAborted } from "./answers.ts";

/** Milliseconds before the first try, and most between two. */
const FIRST = 100;
const MOST = 3_000;

/**
 * The pauses between the tries of a paused migration: short at first, then longer, for no longer than its
 * owner wants; none is made while it is held.
 */
export class RecoveryWaits {
  readonly #timeout: number;
  #end = Infinity;
  #delay = FIRST;
  #held = false;
  #wake = Promise.withResolvers<void>();

  /**
   * @param timeout milliseconds of a pause after which no more tries are made; default, and Infinity: never
   * @throws {RangeError} for a time that cannot be
   */
  constructor(timeout = Infinity) {
    if (!(timeout >= 0)) {
      throw new RangeError(`recoverTimeout must be a number from 0 on: ${timeout}`);
    }
    this.#timeout = timeout;
  }

  /** True when not a single try is to be made. */
  get none(): boolean {
    return this.#timeout === 0;
  }

  /** A pause begins, or ended: the time counts anew. */
  begin(): void {
    this.#end = performance.now() + this.#timeout;
    this.#delay = FIRST;
  }

  /** True when no try is made before it is told to. */
  get held(): boolean {
    return this.#held;
  }

  /** No try is made before {@linkcode RecoveryWaits.goOn}. */
  hold(): void {
    this.#held = true;
  }

  /** The next try is made now. */
  goOn(): void {
    this.#held = false;
    this.begin();
    this.#wake.resolve();
  }

  /**
   * Resolves when the next try is to be made.
   *
   * @throws {DOMException} `TimeoutError` when there is to be none any more
   * @throws the signal's reason when that is aborted
   */
  async next(signal: AbortSignal): Promise<void> {
    this.#wake = Promise.withResolvers();
    const delay = this.#delay;
    this.#delay = Math.min(delay * 2, MOST);
    if (!this.#held && performance.now() + delay > this.#end) {
      throw new DOMException("No more tries are made", "TimeoutError");
    }
    const timer = this.#held ? undefined : setTimeout(this.#wake.resolve, delay);
    try {
      await untilAborted(this.#wake.promise, signal);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Whether a connection failed because nobody listens where it was to lead. */
export function nobodyListens(error: unknown): boolean {
  return error instanceof SyscallError && error.syscall === "connect" &&
    (error.errno === Errno.ECONNREFUSED || error.errno === Errno.ENOENT);
}

/** The error for a source that goes on for another, and found nobody in the time that it had. */
export function notConnected(): MigrationError {
  return new MigrationError(
    "CONNECTION_LOST",
    "Destination could not be connected to in time: see that it is postcopy-paused and listens " +
      "(migrate_recover), and at this address",
  );
}
