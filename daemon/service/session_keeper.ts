/** What is kept of one session for the next daemon, should this one be killed. */

import type { SessionRecord } from "./session_record.ts";
import type { KeptSession, StateStore } from "./state_store.ts";

/** Which session it is. */
export interface SessionKeeperInit {
  readonly record: SessionRecord;
  /** What it was asked for with: of one that is gone on with, by whoever began it. */
  readonly original: KeptSession["request"];
  readonly key: string | undefined;
  readonly store: StateStore;
}

/** Keeps one session: what cannot be done is a note of it, and the session goes on. */
export class SessionKeeper {
  readonly #init: SessionKeeperInit;

  /** @param init which session it is; nothing else of what is given is held */
  constructor({ record, original, key, store }: SessionKeeperInit) {
    this.#init = { record, original, key, store };
  }

  /**
   * Keeps the session, in place of what was kept of it before: it is on the disk then.
   *
   * @param now where its other end is, and what has come, where the request does not say so
   * @param command what goes on with it should that fail, for a shell
   */
  async keep(now: Pick<KeptSession, "to" | "partial">, command: string): Promise<void> {
    const { record, original, key, store } = this.#init;
    const { id, startedAt } = record;
    const named = key === undefined ? {} : { key };
    try {
      await store.keep({ id, startedAt, request: original, ...now, ...named });
    } catch (error) {
      record.note(
        `State of this session cannot be kept: ${
          (error as Error).message
        }: should the daemon be killed, go ` +
          `on with it by ${command}`,
      );
    }
  }

  /** The next daemon is not to go on with it. */
  async forget(): Promise<void> {
    const { record, store } = this.#init;
    try {
      await store.forget(record.id);
    } catch (error) {
      record.note(`State of this session cannot be removed: ${(error as Error).message}`);
    }
  }
}
