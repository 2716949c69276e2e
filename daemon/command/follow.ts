/** Following a session of the daemon to its end, as if it were a command of its own. */

import { Interrupted, onInterrupt } from "../../migration/command/interrupt.ts";
import { warnLine } from "../../migration/command/output.ts";
import { ProgressLine } from "../../migration/report/progress_line.ts";
import type { SessionView } from "../service/session.ts";
import type { ApiClient } from "./api_client.ts";
import { ApiError, NoDaemonError } from "./api_error.ts";
import { passed } from "./passed.ts";
import { isOver, sessionPath } from "./sessions.ts";
import { progressOf, standingLines } from "./session_text.ts";

/** Milliseconds between two looks, and for which a daemon that does not answer is waited for. */
const INTERVAL = 200;
const PATIENCE = 60_000;

/**
 * Tells what happens to a session until it is over. A daemon that is started anew meanwhile is waited for.
 *
 * @param session as it was when it began
 * @returns the session when it is over
 * @throws {Interrupted} when the user leaves: it goes on
 * @throws {ApiError} when the daemon knows it no more
 * @throws {NoDaemonError} when none answers for a minute
 */
export async function follow(client: ApiClient, session: SessionView): Promise<SessionView> {
  const abort = new AbortController();
  using _interrupt = onInterrupt(() => abort.abort(leaving(session.id)));
  const { signal } = abort;
  const teller = new Teller(ProgressLine.on(Deno.stderr));
  const silence = new Silence(teller, session);
  for (let now: SessionView | undefined = session;;) {
    if (now !== undefined) teller.tell(now);
    if (now !== undefined && isOver(now)) return now;
    try {
      if (!await passed(INTERVAL, signal)) throw signal.reason;
      now = await client.ask<SessionView>(sessionPath(session), { signal });
      silence.isOver(now);
    } catch (error) {
      teller.clear();
      silence.bear(error);
      now = undefined;
    }
  }
}

/** A daemon that does not answer, and for how long that is borne. */
class Silence {
  readonly #teller: Teller;
  /** As it was told last. */
  #session: SessionView;
  #since: number | undefined;

  constructor(teller: Teller, session: SessionView) {
    this.#teller = teller;
    this.#session = session;
  }

  /** It has answered. */
  isOver(session: SessionView): void {
    this.#session = session;
    if (this.#since !== undefined) this.#teller.line("The daemon answers again");
    this.#since = undefined;
  }

  /**
   * Bears that it has not.
   *
   * @throws what is not to be borne
   */
  bear(error: unknown): void {
    const now = performance.now();
    if (!(error instanceof NoDaemonError)) {
      throw unknown(error, this.#session, this.#since !== undefined);
    } else {
      if (this.#since === undefined) {
        const goesOn = this.#session.direction === "lazy" ? "" : ", which goes on with this";
        this.#teller.line(`The daemon does not answer: waiting for its next start${goesOn}`);
      }
      this.#since ??= now;
      if (now - this.#since > PATIENCE) throw error;
    }
  }
}

/** Where a session stood whose guest may not have run. */
const BEFORE_RUN: readonly string[] = ["setup", "active"];

/**
 * Says why a daemon may know a session no more.
 *
 * @param silent whether it did not answer before
 * @returns any other error as it is
 */
function unknown(error: unknown, session: SessionView, silent: boolean): unknown {
  const { id, direction } = session;
  if (!(error instanceof ApiError) || error.code !== "NO_SUCH_SESSION") return error;
  const { status } = error;
  if (!silent) {
    return new ApiError({
      status,
      detail: `${id} has ended, and the daemon has forgotten how: its log says it`,
    });
  }
  const detail = direction === "lazy"
    ? `${id} is gone with the daemon that was: whoever it served waits, or stops at the next page that is ` +
      "missing: where a holder keeps what was handed over (--held-by), start it again with the same options"
    : BEFORE_RUN.includes(session.status)
    ? `${id} is gone: the daemon was started anew, most likely before its guest could run: where its log ` +
      "(journalctl -u postcopy) does not say otherwise nothing ran: start it again"
    : `${id} has ended with the daemon that was, whose log says how (journalctl -u postcopy): its guest may run: do ` +
      "not start it again before you know that it does not";
  return new ApiError({ status, detail });
}

function leaving(id: string): Interrupted {
  return new Interrupted(
    `${id} goes on in the daemon: postcopy status ${id} shows it, postcopy cancel ${id} ends it`,
  );
}

/** Tells what has changed since it was told last. */
class Teller {
  readonly #line: ProgressLine;
  #notes = 0;
  #standing = "";

  constructor(line: ProgressLine) {
    this.#line = line;
  }

  tell(session: SessionView): void {
    // A daemon that was started anew has forgotten notes.
    this.#notes = Math.min(this.#notes, session.notes.length);
    for (; this.#notes < session.notes.length; this.#notes++) {
      this.line(session.notes[this.#notes]!);
    }
    if (isOver(session)) return this.#line.clear();
    const standing = standingLines(session).join("\n");
    if (standing !== this.#standing && standing !== "") this.line(standing);
    this.#standing = standing;
    this.#line.update(progressOf(session));
  }

  /** Removes the line of progress. */
  clear(): void {
    this.#line.clear();
  }

  line(text: string): void {
    this.#line.clear();
    warnLine(text);
  }
}
