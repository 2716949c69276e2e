/** What sessions of every kind have in common: name, times, notes, and what is told of them. */

import type { EventLog } from "./event_log.ts";
import { ServiceError } from "./service_error.ts";
import type { Direction, SessionStatistics, SessionStatus, SessionView } from "./session.ts";

/** Most notes that are kept of a session: of more the oldest are forgotten. */
const MOST_NOTES = 100;

/** What a session is made with. */
export interface RecordInit {
  readonly id: string;
  readonly direction: Direction;
  readonly image: string;
  readonly startedAt: string;
  readonly events: EventLog;
}

/** Why a session stands where it does, and what to do. */
export interface Explanation {
  readonly reason?: string;
  readonly code?: string;
  readonly remedy?: string;
  readonly recover?: string;
}

/** The record of a session. */
export class SessionRecord {
  readonly id: string;
  readonly direction: Direction;
  readonly startedAt: string;
  /** Where the other end is, or is waited for. */
  peer: string;
  readonly image: string;
  readonly #events: EventLog;
  readonly #notes: string[] = [];
  #status: SessionStatus = "setup";
  #why: Explanation = {};
  #endedAt: string | undefined;

  /**
   * @param init what it is of
   * @param peer where the other end is
   */
  constructor({ id, direction, image, startedAt, events }: RecordInit, peer: string) {
    this.id = id;
    this.direction = direction;
    this.startedAt = startedAt;
    this.peer = peer;
    this.image = image;
    this.#events = events;
  }

  /** Where it stands. */
  get status(): SessionStatus {
    return this.#status;
  }

  /** Whether it has ended. */
  get over(): boolean {
    return this.#endedAt !== undefined;
  }

  /** Notes where it stands, and tells it, unless that is no news. */
  set(status: SessionStatus, why: Explanation = {}): void {
    if (this.over || (status === this.#status && why.reason === this.#why.reason)) return;
    this.#status = status;
    this.#why = why;
    this.#events.add({ event: "status", id: this.id, status, ...why });
  }

  /** Says why it stands where it does from its beginning, of which nobody was told yet. */
  explain(why: Explanation): void {
    this.#why = why;
  }

  /** Notes what the user should know. */
  note(text: string): void {
    if (this.#notes.push(text) > MOST_NOTES) this.#notes.shift();
    this.#events.add({ event: "note", id: this.id, text });
  }

  /** It has ended: nothing changes any more. */
  end(status: SessionStatus, why: Explanation): void {
    this.set(status, why);
    this.#endedAt ??= new Date().toISOString();
  }

  /** The session with its figures. */
  view(statistics: SessionStatistics): SessionView {
    return {
      id: this.id,
      direction: this.direction,
      image: this.image,
      peer: this.peer,
      status: this.#status,
      startedAt: this.startedAt,
      ...this.#endedAt === undefined ? {} : { endedAt: this.#endedAt },
      ...this.#why,
      statistics,
      notes: [...this.#notes],
    };
  }
}

/** Puts an error in words and a code. */
export function explanationOf(error: unknown): Explanation {
  const reason = error instanceof Error ? error.message : String(error);
  const code = codeOf(error);
  return { reason, ...code === undefined ? {} : { code } };
}

/** The code of an error of the module; of those that have none, the name. */
export function codeOf(error: unknown): string | undefined {
  const { code, name } = error as { code?: unknown; name?: unknown };
  if (typeof code === "string") return code;
  return name === "HandedOverError" ? "HANDED_OVER" : undefined;
}

/** The error for what sessions of a kind never do. */
export function unsupported(direction: Direction, what: string): ServiceError {
  return new ServiceError("UNSUPPORTED", `Not of ${direction} sessions: ${what}`);
}

/** Turns the refusal of the module, which is in the wrong state, into one of the service. */
export function inState<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw new ServiceError("WRONG_STATE", (error as Error).message);
  }
}
