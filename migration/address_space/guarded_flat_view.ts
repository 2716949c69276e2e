/** The debug check that finds who reads a view that is no longer true. */

import { type FlatEvent, type FlatRange, FlatView } from "./flat_view.ts";

/** A flat view was read although its address space has changed since. */
export class StaleViewError extends Error {
  /** The class's name. */
  override readonly name = "StaleViewError";
  /** Machine-readable reason. */
  readonly code = "STALE_VIEW";
  /** Who read it: the name it gave, or its line of source. */
  readonly reader: string;
  /** The address space's name. */
  readonly space: string;

  /**
   * Makes the error.
   *
   * @param reader who read it
   * @param space the address space's name
   */
  constructor(reader: string, space: string) {
    super(
      `Flat view of ${space} read while changes to it are pending: ${reader}: ` +
        `call flatView() of the address space, which commits them first`,
    );
    this.reader = reader;
    this.space = space;
  }
}

/** A flat view that throws {@linkcode StaleViewError} when read while its address space has changes pending. */
export class GuardedFlatView extends FlatView {
  readonly #space: { readonly name: string };
  readonly #isStale: () => boolean;

  /**
   * @param view what it shows
   * @param space the address space
   * @param isStale reports whether the address space has changes pending
   */
  constructor(view: FlatView, space: { readonly name: string }, isStale: () => boolean) {
    super(view.ranges, view.events);
    this.#space = space;
    this.#isStale = isStale;
  }

  override get ranges(): readonly FlatRange[] {
    this.#check();
    return super.ranges;
  }

  override get events(): readonly FlatEvent[] {
    this.#check();
    return super.events;
  }

  override find(address: number, reader?: string): FlatRange | undefined {
    this.#check(reader);
    return super.find(address, reader);
  }

  #check(reader?: string): void {
    if (this.#isStale()) throw new StaleViewError(reader ?? callerLine(), this.#space.name);
  }
}

const OWN_FILES = [import.meta.url, new URL("./flat_view.ts", import.meta.url).href];

/** Returns the line of the stack that called into the view. */
function callerLine(): string {
  const lines = new Error().stack?.split("\n").slice(1) ?? [];
  const line = lines.find((each) => !OWN_FILES.some((file) => each.includes(file)));
  return line?.trim().replace(/^at /, "") ?? "an unknown reader";
}
