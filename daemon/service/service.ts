/** What the daemon does, whoever asks for it: images, sessions, their limits, and what happens to them. */

import { requireNothingAtStake } from "./at_stake.ts";
import { requireDirectories } from "./required_directories.ts";
import { parseSocketAddress } from "../../ffi/socket_address.ts";
import type { DirtyPages } from "../../client/lazy/written_memory.ts";
import { unsupported } from "./session_record.ts";
import { endOf } from "./ended_session.ts";
import { type Carried, Idempotency, REMEMBERED } from "./idempotency.ts";
import type { DaemonConfig } from "../config/config.ts";
import { endNow, finish } from "./ending.ts";
import { EventLog } from "./event_log.ts";
import { ImageCatalog } from "./image_catalog.ts";
import { type Claim, Claims, destinationNames } from "./claims.ts";
import { BandwidthShares } from "./bandwidth_shares.ts";
import { MapCache } from "./map_cache.ts";
import { MemoryAccount } from "./memory_account.ts";
import type { MemoryMap } from "../../migration/memory/memory_map.ts";
import type { StartRequest } from "./requests.ts";
import { ServiceError } from "./service_error.ts";
import { LazyHostSession } from "./lazy_session.ts";
import { OutgoingSession } from "./outgoing_session.ts";
import type { Direction, Session, SessionLimits, SessionStatus, SessionView } from "./session.ts";
import { Sessions } from "./sessions.ts";
import { SessionStarter, type StartAs } from "./session_starter.ts";
import { type KeptSession, requestAgain, StateStore } from "./state_store.ts";
import { WaitingSession } from "./waiting_session.ts";

/** What a wait is for: a status, or the end, whatever it is. */
export type Until = SessionStatus | "ended";

/** A session that was started. */
export interface Started {
  readonly session: SessionView;
  /** Whether a request with the same key had started it before. */
  readonly replayed: boolean;
}

/** The service. */
export class Service implements AsyncDisposable {
  /** What happened. */
  readonly events: EventLog = new EventLog();
  /** The images. */
  readonly images: ImageCatalog;
  /** What is kept for the next daemon. */
  readonly store: StateStore;
  readonly #sessions: Sessions;
  readonly #shares = new BandwidthShares<OutgoingSession>(() => this.#config.limits.bandwidth);
  readonly #idempotency = new Idempotency<Session>();
  readonly #memory: MemoryAccount;
  readonly #claims = new Claims();
  readonly #maps = new MapCache();
  #config: DaemonConfig;
  readonly #starting = new Set<string>();
  #draining = false;

  private constructor(config: DaemonConfig, store: StateStore) {
    this.#config = config;
    this.images = new ImageCatalog(config.images);
    this.store = store;
    this.#sessions = new Sessions({
      stateDirectory: config.stateDirectory,
      events: this.events,
      mostEnded: () => this.#config.limits.ended,
    });
    this.#memory = new MemoryAccount(() => this.#config.limits.memory, () => this.#bytesToCome);
  }

  /**
   * Makes a service. It knows what ended under a daemon before it; nothing is gone on with.
   *
   * @throws {DaemonError} when a directory is missing that the configuration names
   */
  static async open(config: DaemonConfig): Promise<Service> {
    await requireDirectories(config);
    const store = new StateStore(config.stateDirectory);
    await store.prepare();
    const service = new Service(config, store);
    await service.#sessions.recall(Date.now() - REMEMBERED, (session, record) => {
      const { key, request } = record;
      service.#idempotency.remember(key, request, Promise.resolve(session), endOf(record));
    });
    return service;
  }

  /** The configuration. */
  get config(): DaemonConfig {
    return this.#config;
  }

  /** Whether it takes no more sessions. */
  get draining(): boolean {
    return this.#draining;
  }

  /** All sessions, those that have ended and are kept too, the oldest first. */
  list(...directions: readonly Direction[]): SessionView[] {
    return this.#sessions.all(directions).map((session) => session.view());
  }

  /**
   * A session.
   *
   * @throws {ServiceError} `NO_SUCH_SESSION`
   */
  get(id: string): SessionView {
    return this.#sessions.get(id).view();
  }

  /**
   * Starts a session.
   *
   * @param request what is asked for
   * @param key by which the same request is known when it comes again; it is carried out once
   * @param as of one that is gone on with: its name and time
   * @throws what keeps it from starting: nothing has changed then
   */
  async start(request: StartRequest, key?: string, as?: StartAs): Promise<Started> {
    const carried: Carried<Session> = await this.#idempotency.once(
      key,
      request,
      () => this.#start(request, key, as),
    );
    return { session: carried.outcome.view(), replayed: carried.replayed };
  }

  /**
   * Goes on with a session of a daemon before this one. What keeps it from starting, an image that is not there yet,
   * say, is waited for: nobody else has what its guest needs. It is a session meanwhile, which tells why, and which a
   * request with its key is answered with.
   *
   * @returns resolves when that was tried once
   */
  async takeUp(kept: KeptSession): Promise<void> {
    const { events, store, images } = this;
    const { key, request } = kept;
    const again = requestAgain(kept);
    // Nobody else is to make its image meanwhile.
    const claim = request.direction === "incoming" ? await this.#claimImage(kept) : undefined;
    const start = (as: StartAs) => this.#start(again, key, as);
    const waiting = new WaitingSession({ kept, events, store, images, start });
    claim?.until(waiting.ended);
    this.#sessions.forget(waiting.id); // that it was left is how it ended for the daemon before
    this.#sessions.set(waiting);
    events.add({ event: "started", session: waiting.view() });
    if (key !== undefined) this.#idempotency.remember(key, request, Promise.resolve(waiting));
    waiting.ended.then(() => {
      if (this.#sessions.has(waiting)) this.#end(waiting, key, request);
    });
    await waiting.tried;
  }

  /** Breaks the connection of a session in postcopy, which waits until it is recovered. */
  async pause(id: string): Promise<SessionView> {
    const session = this.#sessions.get(id);
    await session.pause();
    return session.view();
  }

  /**
   * Has a paused session go on.
   *
   * @param to where the destination listens now; of an incoming one, where to listen too
   */
  async recover(id: string, to?: string): Promise<SessionView> {
    const session = this.#sessions.get(id);
    if (session.direction !== "outgoing" || to === undefined) {
      await session.recover(to);
      return session.view();
    }
    using claim = this.#claims.take(await destinationNames(parseSocketAddress(to)), id);
    await session.recover(to);
    claim.until(session.ended);
    return session.view();
  }

  /** Ends the precopy of a session. */
  startPostcopy(id: string): SessionView {
    const session = this.#sessions.get(id);
    session.startPostcopy();
    return session.view();
  }

  /**
   * Ends a session.
   *
   * @param force although a guest would be lost
   * @throws {ServiceError} `GUEST_AT_STAKE` otherwise
   */
  async cancel(id: string, force: boolean = false): Promise<SessionView> {
    const session = this.#sessions.get(id);
    if (session.over) {
      throw new ServiceError("WRONG_STATE", `Session has ended: ${session.view().status}`);
    }
    if (!force) requireNothingAtStake(session);
    await session.cancel();
    return session.view();
  }

  /** Changes the limits of a session while it runs. */
  setLimits(id: string, limits: SessionLimits): SessionView {
    const session = this.#sessions.get(id);
    if (session instanceof OutgoingSession && this.#shares.has(session)) {
      this.#shares.set(session, limits.maxPostcopyBandwidth);
    } else {
      session.setLimits(limits);
    }
    return session.view();
  }

  /** A session's memory in so many parts; undefined when it is not known. */
  map(id: string, cells: number): MemoryMap | undefined {
    const session = this.#sessions.get(id);
    // The last one is final, and asked for but once by each who looks.
    if (session.over) return session.map(cells);
    return this.#maps.get(id, cells, (cells) => session.map(cells));
  }

  /** What the processes of a lazy session have written to since they were restored. */
  async dirtyPages(id: string): Promise<DirtyPages[]> {
    const session = this.#sessions.get(id);
    if (session instanceof LazyHostSession) return await session.dirtyPages();
    throw unsupported(session.direction, "what is written to is told of lazy ones");
  }

  /**
   * Waits until a session stands somewhere, or has ended.
   *
   * @param signal ends the wait
   * @returns the session as it is then
   */
  async wait(id: string, until: Until, signal: AbortSignal): Promise<SessionView> {
    const session = this.#sessions.get(id);
    while (!session.over && !signal.aborted) {
      const { last } = this.events;
      if (session.view().status === until) break;
      await this.events.news(last, signal);
    }
    return session.view();
  }

  /**
   * Forgets a session that has ended.
   *
   * @throws {ServiceError} `WRONG_STATE` when it has not
   */
  forget(id: string): void {
    const session = this.#sessions.get(id);
    if (!session.over) {
      throw new ServiceError(
        "WRONG_STATE",
        `Session has not ended: ${session.view().status}: cancel it first`,
      );
    }
    this.#sessions.forget(id);
    this.events.add({ event: "forgotten", id });
  }

  /**
   * Takes another configuration: what is asked for from now on goes by it. Where it listens and keeps its state
   * stays as it was.
   */
  reload(config: DaemonConfig): void {
    this.#config = config;
    this.images.places = config.images;
    this.#shares.divide();
    this.events.add({ event: "reloaded" });
  }

  /** Takes no more sessions, ends those that nobody needs, and resolves when all others have ended. */
  async drain(): Promise<void> {
    if (!this.#draining) this.events.add({ event: "draining" });
    this.#draining = true;
    await Promise.all(this.#sessions.running.map((session) => finish(session, this.events)));
  }

  /** Ends all sessions. Migrations that a guest needs are kept for the next daemon. */
  async close(): Promise<void> {
    this.#draining = true;
    await Promise.all(this.#sessions.running.map(endNow));
    await this.#sessions.settled;
  }

  /** Closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Takes the name of an image that is received; undefined where it is not known, or another one has it. */
  async #claimImage({ id, request }: KeptSession): Promise<Claim | undefined> {
    try {
      return this.#claims.take([`image ${await this.images.toWrite(request.image)}`], id);
    } catch {
      return undefined; // what tries to go on with it is told why
    }
  }

  /** The sessions that have not ended. */
  get running(): readonly Pick<Session, "id" | "atStake">[] {
    return this.#sessions.running;
  }

  get #bytesToCome(): number {
    return this.#sessions.running.reduce(
      (sum, session) => sum + (session instanceof LazyHostSession ? session.bytesToCome : 0),
      0,
    );
  }

  async #start(
    request: StartRequest,
    key: string | undefined,
    as: StartAs = { id: this.#sessions.newId(), startedAt: new Date().toISOString() },
  ): Promise<Session> {
    if (this.#draining) throw drainingError();
    const { sessions } = this.#config.limits;
    if (this.#occupied(as.original !== undefined) >= sessions) {
      throw new ServiceError(
        "TOO_MANY_SESSIONS",
        `As many sessions run as may: ${sessions}`,
        "wait until one has ended, or raise limits.sessions",
      );
    }
    this.#starting.add(as.id);
    try {
      const { events, images, store } = this;
      const starter = new SessionStarter({
        config: this.#config,
        events,
        images,
        store,
        memory: this.#memory,
        claims: this.#claims,
      });
      const session = await starter.start(request, key, as);
      if (this.#draining) { // it was told to while an image was opened: nobody waits for this one
        await endNow(session);
        throw drainingError();
      }
      if (as.signal?.aborted) {
        await session.cancel();
        throw as.signal.reason;
      }
      const isKnown = this.#sessions.knows(session.id); // as one that is waited for
      this.#sessions.set(session);
      const view = session.view();
      if (!isKnown) this.events.add({ event: "started", session: view });
      // Wherever else it stands it has told.
      else if (view.status === "setup") {
        this.events.add({ event: "status", id: view.id, status: view.status });
      }
      if (session instanceof OutgoingSession && "direction" in request) {
        const own = request.direction === "outgoing" ? request.maxPostcopyBandwidth : undefined;
        this.#shares.set(session, own ?? this.#config.serve.source.maxPostcopyBandwidth ?? 0);
      }
      session.ended.then(() => this.#end(session, key, as.original ?? request));
      return session;
    } finally {
      this.#starting.delete(as.id);
    }
  }

  #end(session: Session, key: string | undefined, request: StartRequest): void {
    if (session instanceof OutgoingSession) this.#shares.delete(session);
    const view = session.view();
    this.events.add({ event: "ended", session: view });
    this.#sessions.end({ key, request, view });
  }

  /** Sessions that count where there may be so many; of those that wait none for one that is gone on with. */
  #occupied(goesOn: boolean): number {
    const running = this.#sessions.running.filter((each) =>
      !(goesOn && each instanceof WaitingSession)
    );
    return new Set([...this.#starting, ...running.map(({ id }) => id)]).size;
  }
}

function drainingError(): ServiceError {
  return new ServiceError("DRAINING", "Daemon is about to end, and takes no more sessions");
}
