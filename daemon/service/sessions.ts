/** The daemon's sessions: those that run, and those that have ended and can still be asked for. */

import { type EndedRecord, EndedSession, EndedStore } from "./ended_session.ts";
import type { EventLog } from "./event_log.ts";
import { ServiceError } from "./service_error.ts";
import type { Direction, Session } from "./session.ts";

/** What they are kept with. */
export interface SessionsInit {
  readonly stateDirectory: string;
  readonly events: EventLog;
  /** How many that have ended can be asked for. */
  readonly mostEnded: () => number;
}

/** All of them, the oldest first. */
export class Sessions {
  readonly #init: SessionsInit;
  readonly #byId = new Map<string, Session>();
  readonly #ended: EndedStore;

  /** @param init what they are kept with */
  constructor(init: SessionsInit) {
    this.#init = init;
    this.#ended = new EndedStore(init.stateDirectory, (id, error) => {
      const text = `The next daemon will not know this session, for its state: ${error.message}`;
      init.events.add({ event: "note", id, text });
    });
  }

  /** Resolves when all is on the disk that the next daemon is to know of those that have ended. */
  get settled(): Promise<void> {
    return this.#ended.settled;
  }

  /** Those that have not ended. */
  get running(): Session[] {
    return this.all().filter((session) => !session.over);
  }

  /** All that go one of these ways; none given: all. */
  all(directions: readonly Direction[] = []): Session[] {
    return [...this.#byId.values()].filter(({ direction }) =>
      directions.length === 0 || directions.includes(direction)
    );
  }

  /** Whether there is one of the name. */
  knows(id: string): boolean {
    return this.#byId.has(id);
  }

  /** Whether this is one of them, and no other has its name. */
  has(session: Session): boolean {
    return this.#byId.get(session.id) === session;
  }

  /**
   * One of them.
   *
   * @throws {ServiceError} `NO_SUCH_SESSION`
   */
  get(id: string): Session {
    const session = this.#byId.get(id);
    if (session !== undefined) return session;
    throw new ServiceError(
      "NO_SUCH_SESSION",
      `No such session: ${id}: postcopy status lists those that there are`,
    );
  }

  /** A name that none of them has. */
  newId(): string {
    const id = crypto.randomUUID().slice(0, 8);
    return this.knows(id) ? this.newId() : id;
  }

  /** Has one, in place of another of its name. */
  set(session: Session): void {
    this.#byId.set(session.id, session);
  }

  /** One has ended; with a key the next daemon knows it, too. */
  end({ key, ...record }: Omit<EndedRecord, "key"> & { readonly key?: string | undefined }): void {
    if (key !== undefined) this.#ended.keep({ key, ...record });
    this.#forgetOldest();
  }

  /** Forgets one, here and for the next daemon. */
  forget(id: string): void {
    this.#byId.delete(id);
    this.#ended.forget(id);
  }

  /**
   * Knows those again that ended under a daemon before this one.
   *
   * @param since milliseconds since 1970: none that ended before
   * @param recall told each, the oldest first
   */
  async recall(
    since: number,
    recall: (session: Session, record: EndedRecord) => void,
  ): Promise<void> {
    for (const record of await this.#ended.read(since)) {
      const session = new EndedSession(record.view);
      this.set(session);
      recall(session, record);
    }
    this.#forgetOldest();
  }

  #forgetOldest(): void {
    const ended = this.all().filter(({ over }) => over);
    const count = Math.max(ended.length - this.#init.mostEnded(), 0);
    for (const { id } of ended.slice(0, count)) this.forget(id);
  }
}
