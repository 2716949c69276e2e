/** A compression library's context with its one owner. */

/** What every codec is: a context that is freed once, and refused afterwards. */
export abstract class OwnedContext<C> implements Disposable {
  readonly #free: (context: C) => void;
  #context: C | null;

  /**
   * @param context made for this codec alone
   * @param free gives it back to its library
   */
  constructor(context: C, free: (context: C) => void) {
    this.#context = context;
    this.#free = free;
  }

  /** The context, unless it is closed: a library would crash on the memory it had. */
  protected get context(): C {
    if (this.#context === null) throw new Error("Codec is closed");
    return this.#context;
  }

  /** Frees the context. Closing again does nothing. */
  close(): void {
    const context = this.#context;
    this.#context = null;
    if (context !== null) this.#free(context);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
