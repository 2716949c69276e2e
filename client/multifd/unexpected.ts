/** What is done when a source has multifd on and nobody here waits for its channels. */

import { isLost, MigrationError } from "../../migration/migration_error.ts";
import { multifdOff } from "../incoming/memory_account.ts";

/** Milliseconds without a byte on the main channel after which a source counts as waiting for those channels. */
const SILENCE = 10_000;

/** Of whose main channel. */
export interface UnexpectedChannelsOptions {
  /** Bytes received on it so far; 0 while it is not there. */
  readonly mainBytes: () => number;
  /** Called when its source waits for ever. */
  readonly onFail: (error: Error) => void;
}

/**
 * Channels of multifd that came where none is expected. They are sent away, for whoever can connect can say their
 * magic, and a migration that goes on without them goes on. A source that lost them closes its main channel too,
 * without a word; or, as QEMU 7.2 often does, keeps it open and says nothing on it any more (seen).
 */
export class UnexpectedChannels {
  readonly #options: UnexpectedChannelsOptions;
  #came = false;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** @param options whose main channel is watched */
  constructor(options: UnexpectedChannelsOptions) {
    this.#options = options;
  }

  /** One has come. */
  meet(): void {
    if (this.#came) return;
    this.#came = true;
    let before = this.#options.mainBytes();
    this.#timer = setInterval(() => {
      const bytes = this.#options.mainBytes();
      const silent = bytes === before;
      before = bytes;
      if (!silent) return;
      this.stop();
      this.#options.onFail(multifdOff());
    }, SILENCE);
  }

  /** The migration is over, or pages come on demand: silence is no sign any more. */
  stop(): void {
    clearInterval(this.#timer);
  }

  /** Says what a lost connection has to do with it, if one came. */
  explain(error: unknown): unknown {
    if (!this.#came || !isLost(error)) return error;
    return new MigrationError(
      error.code,
      `${error.message}; it opened channels of multifd: give --multifd with as many as its multifd-channels, ` +
        "or turn the capability multifd off there",
      { cause: error },
    );
  }
}
