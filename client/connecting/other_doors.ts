/** The further places where a destination listens, once no task accepts connections there any more. */

import type { EntranceInit } from "./entrance.ts";
import { IncomingChannels } from "./incoming_channels.ts";
import type { Ending } from "./late_source.ts";

/**
 * Whoever connects there would wait for an answer for ever, were nobody to accept: a source that resumes
 * does so where it was told to.
 */
export class OtherDoors implements AsyncDisposable {
  readonly #stallTimeout: number;
  readonly #places: { readonly entrance: EntranceInit; readonly name: string }[] = [];
  #doors: readonly IncomingChannels[] | undefined;

  /** @param stallTimeout milliseconds without a sign of life after which whoever connects counts as gone */
  constructor(stallTimeout: number) {
    this.#stallTimeout = stallTimeout;
  }

  /** Adds a place, which a task sees to so far; its descriptor stays the caller's. */
  add(entrance: EntranceInit, name: string): void {
    this.#places.push({ entrance, name });
  }

  /** {@linkcode IncomingChannels.takeBack}, of all. */
  takeBack(ending?: Ending): void {
    const stallTimeout = this.#stallTimeout;
    this.#doors ??= this.#places.map(({ entrance, name }) =>
      new IncomingChannels(entrance, name, { stallTimeout })
    );
    for (const door of this.#doors) door.takeBack(ending);
  }

  /** Accepts no more. Closing again does nothing. */
  async close(): Promise<void> {
    await Promise.all((this.#doors ?? []).map((door) => door.close()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
