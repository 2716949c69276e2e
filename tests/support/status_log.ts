/** What a migration's `onStatus` said, for whoever waits for it. */

/** All statuses so far, and their reasons. */
export class StatusLog<S extends string = string> {
  /** In their order. */
  readonly items: { readonly status: S; readonly reason: Error | undefined }[] = [];
  #changed = Promise.withResolvers<void>();

  /** To be called with each. */
  readonly add = (status: S, reason?: Error): void => {
    this.items.push({ status, reason });
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  };

  /** Resolves when a status was there for the given time. */
  async reached(status: S, time = 1): Promise<void> {
    while (this.items.filter((item) => item.status === status).length < time) {
      await this.#changed.promise;
    }
  }
}
