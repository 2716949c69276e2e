/** What a QEMU says by itself of its migration and its guest. */

import type { QmpEvent } from "../../migration/qmp/qmp_message.ts";

/** What is told to people of events beside those of the migration, by what QEMU says with them. */
const NEWS: Readonly<Record<string, (data: QmpEvent["data"]) => string>> = {
  RESUME: () => "QEMU: the guest runs",
  STOP: () => "QEMU: the guest is stopped",
  // `quit` and signals are a SHUTDOWN, too, of a guest that did nothing.
  SHUTDOWN: ({ guest }) => guest === false ? "QEMU ends" : "QEMU: the guest shut down",
};
/** Events that are kept at most: a guest may be stopped and resumed as often as somebody likes. */
const MOST_KEPT = 100;

/** An event as it is printed. */
export interface KeptEvent {
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
  /** Milliseconds since 1970, QEMU's. */
  readonly timestamp: number;
}

/** Follows the events of one QEMU. */
export class MigrationEvents {
  /** Told what people are to know. */
  onNews: (text: string) => void = () => {};
  readonly #kept: KeptEvent[] = [];
  readonly #waiters = new Set<() => void>();
  #status: string | undefined;
  #over = false;

  /** Those that were kept, in their order. */
  get kept(): readonly KeptEvent[] {
    return this.#kept;
  }

  /** The migration's last state; undefined when it has not been said on this connection. */
  get status(): string | undefined {
    return this.#status;
  }

  /** Takes an event. */
  readonly hear = ({ name, data, timestamp }: QmpEvent): void => {
    const news = NEWS[name]?.(data);
    if (news === undefined && name !== "MIGRATION") return;
    if (this.#kept.length < MOST_KEPT) this.#kept.push({ event: name, data, timestamp });
    if (news !== undefined) this.onNews(news);
    else this.#status = String(data["status"]);
    this.#wake();
  };

  /** The connection is over: nothing is known any more. */
  readonly end = (): void => {
    this.#over = true;
    this.#status = undefined;
    this.#wake();
  };

  /** Another connection begins. */
  begin(): void {
    this.#over = false;
  }

  /**
   * Waits for one of some states.
   *
   * @param milliseconds at most; Infinity: as long as it takes
   * @param signal ends it too
   * @returns the state; undefined when it did not come, or the connection ended
   */
  async reached(
    wanted: readonly string[],
    milliseconds: number,
    signal?: AbortSignal,
  ): Promise<string | undefined> {
    const { promise, resolve } = Promise.withResolvers<string | undefined>();
    const look = (): void => {
      const status = this.#status;
      if (status !== undefined && wanted.includes(status)) resolve(status);
      else if (this.#over || signal?.aborted) resolve(undefined);
    };
    const timer = milliseconds === Infinity
      ? undefined
      : setTimeout(() => resolve(undefined), milliseconds);
    this.#waiters.add(look);
    signal?.addEventListener("abort", look);
    look();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#waiters.delete(look);
      signal?.removeEventListener("abort", look);
    }
  }

  #wake(): void {
    for (const look of [...this.#waiters]) look();
  }
}
