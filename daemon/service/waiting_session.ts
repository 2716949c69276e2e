/** A session of a daemon before this one, until it is gone on with: its image need not be there yet. */

import { RESUME_THERE } from "../../image/taken_up.ts";
import type { MemoryMap } from "../../migration/memory/memory_map.ts";
import { stakeKept } from "./at_stake.ts";
import type { EventLog } from "./event_log.ts";
import type { ImageCatalog } from "./image_catalog.ts";
import { receiveCommand } from "./received_again.ts";
import { migrateCommand } from "./served_again.ts";
import { ServiceError } from "./service_error.ts";
import type { Direction, Session, SessionStatus, SessionView } from "./session.ts";
import { codeOf, type Explanation, explanationOf, SessionRecord } from "./session_record.ts";
import { SessionKeeper } from "./session_keeper.ts";
import type { StartAs } from "./session_starter.ts";
import type { KeptSession, StateStore } from "./state_store.ts";
import { receivedBefore, statisticsBefore } from "./statistics_before.ts";

/** Milliseconds after which it is tried again. */
const AGAIN = 5_000;
const RECEIVED =
  "Every page was received, and the image has its name: if its source has not heard of that, end it with quit";

/** What it waits with. */
export interface WaitingInit {
  readonly kept: KeptSession;
  readonly events: EventLog;
  readonly store: StateStore;
  readonly images: Pick<ImageCatalog, "find">;
  /** Goes on with it. */
  readonly start: (as: StartAs) => Promise<Session>;
}

/** One such session. It is paused, and stands for the one that goes on with it once that is there. */
export class WaitingSession implements Session {
  readonly direction: Direction;
  /** Resolves when it has ended, or the session has that went on with it. */
  readonly ended: Promise<void>;
  /** Resolves when it was tried once. */
  readonly tried: Promise<void>;
  /** Whether it is not connected: never. */
  readonly isPaused = true;
  readonly #init: WaitingInit;
  readonly #record: SessionRecord;
  readonly #keeper: SessionKeeper;
  readonly #abort = new AbortController();
  readonly #since = Date.now();
  #begun: Session | undefined;
  /** Settles when the attempt has ended that is made, or else the next one. */
  #attempt = Promise.withResolvers<void>();
  #wake: () => void = () => {};
  #left = false;

  /** Tries from now on. */
  constructor(init: WaitingInit) {
    const { kept, events, store } = init;
    const { id, startedAt, request, key } = kept;
    const { direction, image } = request;
    const peer = kept.to ?? (request.direction === "incoming" ? request.listen : request.to);
    this.#init = init;
    this.direction = direction;
    this.#record = new SessionRecord({ id, direction, image, startedAt, events }, peer);
    this.#record.explain({ reason: "Session of a daemon before this one is about to go on" });
    this.#keeper = new SessionKeeper({ record: this.#record, original: request, key, store });
    this.tried = this.#attempt.promise;
    this.ended = this.#run();
  }

  /** Its name. */
  get id(): string {
    return this.#record.id;
  }

  /** Whether it has ended. */
  get over(): boolean {
    return this.#begun?.over ?? this.#record.over;
  }

  /** What would be lost. */
  get atStake(): string | undefined {
    if (this.#begun !== undefined) return this.#begun.atStake;
    return this.over ? undefined : stakeKept(this.#init.kept);
  }

  /** What to do instead of ending it. */
  get instead(): string {
    return `Leave it alone: it goes on by itself once it can, and postcopy status ${this.id} shows what it waits ` +
      "for. Only if that guest is gone for good, or what it waits for, cancel it with force";
  }

  /** The session as it is now. */
  view(): SessionView {
    if (this.#begun !== undefined) return this.#begun.view();
    const { status } = this.#record;
    return this.#record.view(
      this.direction === "outgoing" ? statisticsBefore(status) : receivedBefore(status),
    );
  }

  /** It is paused already. */
  pause(): Promise<void> {
    return Promise.reject(this.#notYet());
  }

  /**
   * Tries now.
   *
   * @throws {ServiceError} `NOT_YET` when it cannot be gone on with
   */
  async recover(to?: string): Promise<void> {
    if (to !== undefined) throw this.#notYet();
    const { promise } = this.#attempt;
    this.#wake();
    await promise;
    if (this.#begun === undefined) throw this.#notYet();
  }

  /** Not yet. */
  startPostcopy(): void {
    throw this.#notYet();
  }

  /** Not yet. */
  setLimits(): void {
    throw this.#notYet();
  }

  /** Not known. */
  map(): MemoryMap | undefined {
    return undefined;
  }

  /** Ends it, and nobody goes on with it. */
  async cancel(): Promise<void> {
    this.#abort.abort(new DOMException("Session was ended", "AbortError"));
    this.#wake();
    await this.ended;
  }

  /** Ends it, and leaves it to the next daemon. */
  async leave(): Promise<void> {
    this.#left = true;
    await this.cancel();
  }

  async #run(): Promise<void> {
    const { kept: { startedAt, request: original }, start } = this.#init;
    const { signal } = this.#abort;
    while (this.#begun === undefined && !signal.aborted) {
      try {
        this.#begun = await start({ id: this.id, startedAt, original, signal });
      } catch (error) {
        if (codeOf(error) === "NO_SUCH_IMAGE" && await this.#isImage()) {
          return await this.#end("completed", { reason: RECEIVED });
        }
        if (!signal.aborted) this.#record.set("postcopy-paused", this.#why(error));
      }
      this.#attempt.resolve();
      this.#attempt = Promise.withResolvers();
      if (this.#begun === undefined && !signal.aborted) await this.#later();
    }
    if (this.#begun !== undefined) return await this.#begun.ended;
    await this.#end("cancelled", { reason: this.#ending, code: "CANCELLED" });
  }

  async #end(status: SessionStatus, why: Explanation): Promise<void> {
    if (!this.#left) await this.#keeper.forget();
    this.#record.end(status, why);
    this.#attempt.resolve();
  }

  /** Whether what was received has the image's name: the daemon before this one was killed right behind that. */
  async #isImage(): Promise<boolean> {
    const { kept: { request, startedAt }, images } = this.#init;
    if (request.direction !== "incoming") return false;
    try {
      const { mtime } = await Deno.stat(await images.find(request.image));
      const written = mtime?.getTime() ?? 0;
      // An older one was to be replaced, a newer one is of somebody else: the file of this one may come yet.
      return written >= Date.parse(startedAt) && written < this.#since;
    } catch {
      return false;
    }
  }

  async #later(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const timer = setTimeout(resolve, AGAIN);
    await promise;
    clearTimeout(timer);
  }

  #why(error: unknown): Explanation {
    const { reason, ...more } = explanationOf(error);
    const remedy = error instanceof ServiceError ? error.remedy : undefined;
    return {
      reason: `Session of a daemon before this one cannot be gone on with yet: ${reason}`,
      ...more,
      remedy: `${remedy === undefined ? "" : `${remedy}. `}It is tried again every ${
        AGAIN / 1000
      } s, and at once by postcopy recover ${this.id}`,
    };
  }

  get #ending(): string {
    const { kept: { request, partial } } = this.#init;
    const { image, peer } = this.#record;
    const ended = "Session was ended before it was gone on with";
    if (this.#left) return `${ended}: start the daemon, which goes on with it by itself`;
    const again = request.direction === "outgoing"
      ? `${migrateCommand(image, peer)} --recover`
      : `${receiveCommand(image, partial ?? `${image}.partial-NUMBER`)}, ${RESUME_THERE}`;
    return `${ended}: should its guest be wanted after all, go on with it: ${again}`;
  }

  #notYet(): ServiceError {
    const { reason, remedy } = this.view();
    return new ServiceError("NOT_YET", reason!, remedy);
  }
}
