/** Starting sessions: what is asked for is looked at, and what two sessions cannot both have is taken. */

import type { DaemonConfig } from "../config/config.ts";
import type { EventLog } from "./event_log.ts";
import type { ImageCatalog } from "./image_catalog.ts";
import { IncomingSession } from "./incoming_session.ts";
import { LazyHostSession } from "./lazy_session.ts";
import { type MemoryAccount, SESSION_BYTES } from "./memory_account.ts";
import { OutgoingSession } from "./outgoing_session.ts";
import { type Claims, destinationNames } from "./claims.ts";
import { RequestOptions } from "./request_options.ts";
import type {
  CriuRequest,
  FirecrackerRequest,
  IncomingRequest,
  OutgoingRequest,
  StartRequest,
} from "./requests.ts";
import type { Direction, Session } from "./session.ts";
import type { StateStore } from "./state_store.ts";

/** What a session is called, and since when it is. */
export interface StartAs {
  readonly id: string;
  /** In ISO 8601. */
  readonly startedAt: string;
  /** What it was asked for with, when it is gone on with. */
  readonly original?: OutgoingRequest | IncomingRequest;
  /** Ends what is waited for before it begins. */
  readonly signal?: AbortSignal;
}

/** What sessions are started with. */
export interface StarterInit {
  readonly config: DaemonConfig;
  readonly events: EventLog;
  readonly images: ImageCatalog;
  readonly store: StateStore;
  readonly memory: MemoryAccount;
  readonly claims: Claims;
}

/** Starts sessions. */
export class SessionStarter {
  readonly #init: StarterInit;
  readonly #options: RequestOptions;

  /** @param init what sessions are started with */
  constructor(init: StarterInit) {
    this.#init = init;
    this.#options = new RequestOptions(init.config);
  }

  /**
   * Starts a session.
   *
   * @param request what is asked for
   * @param key by which it is known when it is asked for again
   * @param as what it is called
   * @throws what keeps it from starting
   */
  async start(request: StartRequest, key: string | undefined, as: StartAs): Promise<Session> {
    this.#init.memory.admit(SESSION_BYTES);
    if ("kind" in request) {
      return request.kind === "criu"
        ? await this.#criu(request, as)
        : await this.#firecracker(request, as);
    }
    return request.direction === "incoming"
      ? await this.#incoming(request, key, as)
      : await this.#outgoing(request, key, as);
  }

  async #outgoing(
    request: OutgoingRequest,
    key: string | undefined,
    as: StartAs,
  ): Promise<Session> {
    const { images, store, claims } = this.#init;
    const options = await this.#options.source(request);
    using claim = claims.take(await destinationNames(options.to), as.id);
    const opening = await images.begin(request.image, request.offset);
    try {
      const session = await OutgoingSession.start({
        ...this.#record(as, "outgoing", request.image),
        request,
        original: as.original ?? request,
        key,
        options,
        order: this.#options.order(request),
        opening,
        store,
        ...as.signal === undefined ? {} : { unwanted: as.signal },
      });
      claim.until(session.ended);
      return session;
    } catch (error) {
      opening[Symbol.dispose]();
      throw error;
    }
  }

  async #incoming(
    request: IncomingRequest,
    key: string | undefined,
    as: StartAs,
  ): Promise<Session> {
    const { images, store, claims } = this.#init;
    const { listen, options } = await this.#options.receiver(request, images);
    using claim = claims.take([`image ${options.path}`], as.id);
    const session = await IncomingSession.start({
      ...this.#record(as, "incoming", request.image),
      listen,
      options,
      address: (text) => this.#options.listening(text),
      original: as.original ?? request,
      isKept: as.original !== undefined,
      key,
      store,
    });
    claim.until(session.ended);
    return session;
  }

  async #firecracker(request: FirecrackerRequest, as: StartAs): Promise<Session> {
    const { images, memory } = this.#init;
    const { socket, options } = await this.#options.lazy(request, images);
    return await LazyHostSession.start({
      ...this.#record(as, "lazy", request.image ?? request.from!),
      options: { kind: "firecracker", socket, lazy: options },
      admit: (bytes) => memory.admit(bytes),
    });
  }

  async #criu(request: CriuRequest, as: StartAs): Promise<Session> {
    return await LazyHostSession.start({
      ...this.#record(as, "lazy", request.images),
      options: { kind: "criu", tree: await this.#options.tree(request) },
      admit: () => {},
    });
  }

  #record({ id, startedAt }: StartAs, direction: Direction, image: string) {
    return { id, startedAt, direction, image, events: this.#init.events };
  }
}
