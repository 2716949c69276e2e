/** Where a destination stands, and who waits for it to get somewhere. */

import type { DrawMap } from "../migration/memory/memory_map.ts";
import type { DestinationStatus } from "./statistics.ts";

/** A destination's status. */
export class StatusBoard {
  readonly #finished = Promise.withResolvers<void>();
  #waiters: { readonly status: DestinationStatus; readonly resolve: () => void }[] = [];
  #status: DestinationStatus = "setup";
  /** The source's machine type, once it has said so. */
  machine: string | undefined;
  /** Draws a map of its memory; undefined before that is known, and of a guest's. */
  drawMap: DrawMap | undefined;

  /** Makes one that has not begun. */
  constructor() {
    this.#finished.promise.catch(() => {}); // whoever cares awaits `finished`
  }

  /** Where it stands. */
  get status(): DestinationStatus {
    return this.#status;
  }

  /** True when it is completed. */
  get completed(): boolean {
    return this.#status === "completed";
  }

  /** True when it is completed or has failed. */
  get over(): boolean {
    return this.completed || this.#status === "failed";
  }

  /** Resolves when it is completed, rejects when it has failed. */
  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  /** It has got somewhere, unless it is over. */
  set(status: DestinationStatus): void {
    if (this.over) return;
    this.#status = status;
    for (const waiter of this.#waiters) if (waiter.status === status) waiter.resolve();
    this.#waiters = this.#waiters.filter((waiter) => waiter.status !== status);
  }

  /** It is completed. */
  complete(): void {
    this.set("completed");
    this.#finished.resolve();
  }

  /** It has failed. */
  fail(error: unknown): void {
    this.set("failed");
    this.#finished.reject(error);
  }

  /** Resolves when it has got there; rejects when it failed first, or is completed. */
  async waitFor(status: DestinationStatus): Promise<void> {
    if (this.#status === status) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiters.push({ status, resolve });
    const over = this.#finished.promise.then(() => {
      if (status === "completed") return;
      throw new Error(`Migration is completed and will not be: ${status}`);
    });
    await Promise.race([promise, over]);
  }
}
