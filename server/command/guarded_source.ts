/** A source that whoever serves an image has: its hand-over is marked, and its order kept. */

import type { Image } from "../../image/image.ts";
import type { SourceStatistics } from "../outgoing/statistics.ts";
import { Source, type SourceOptions } from "../source.ts";
import type { HandOverGuard } from "./hand_over_guard.ts";
import type { OrderKeeper } from "./order_keeper.ts";

/** One migration of an image, with the mark that its guest may run, and what it asks for. */
export class GuardedSource implements AsyncDisposable {
  /** The source itself. */
  readonly source: Source;
  readonly #options: SourceOptions;
  readonly #guard: HandOverGuard;
  readonly #keeper: OrderKeeper;
  #preparing: Promise<void> = Promise.resolve();
  readonly #tell: (lines: readonly string[]) => void;

  /**
   * Prepares the migration.
   *
   * @param image what is served
   * @param options where to, and how
   * @param guard keeps others from starting the guest meanwhile
   * @param keeper knows in which order its pages go
   * @param tell is told what the user should know
   * @throws as the constructor of {@linkcode Source}
   */
  constructor(
    image: Image,
    options: SourceOptions,
    guard: HandOverGuard,
    keeper: OrderKeeper,
    tell: (lines: readonly string[]) => void,
  ) {
    this.#options = { ...options, ...keeper.options };
    this.#guard = guard;
    this.#keeper = keeper;
    this.#tell = tell;
    this.source = new Source(image, {
      ...this.#options,
      beforeRun: () => {
        this.#preparing = this.#prepare(options);
        return this.#preparing;
      },
      onStatus: (status, reason) => {
        options.onStatus?.(status, reason);
        // Another source began, and its guest is there: from now on this is what it needs.
        if (options.recover && status === "postcopy-active") void this.#keepMark();
      },
    });
  }

  /**
   * Migrates, as {@linkcode Source.run}; then the mark goes, unless the guest may lack pages, and the order is kept.
   *
   * @throws what ended the migration
   */
  async run(): Promise<SourceStatistics> {
    const { source } = this;
    try {
      const statistics = await source.run();
      await this.#prepared();
      this.#tell(await this.#guard.completed());
      this.#tell(await this.#keeper.keep(source, this.#options, true));
      return statistics;
    } catch (error) {
      await this.#prepared();
      if (source.ranNowhere) this.#tell(await this.#guard.ranNowhere());
      else this.#tell(await this.#keeper.keep(source, this.#options, false));
      throw error;
    }
  }

  /** Ends it, see {@linkcode Source.close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.source.close();
  }

  async #prepare({ beforeRun }: SourceOptions): Promise<void> {
    await beforeRun?.();
    await this.#keepMark();
  }

  /** Waits for a mark that is being made: a migration that is cancelled waits for nobody, and would leave it. */
  async #prepared(): Promise<void> {
    await this.#preparing.catch(() => {}); // the source has heard it
  }

  async #keepMark(): Promise<void> {
    this.#tell(await this.#guard.keep());
  }
}
