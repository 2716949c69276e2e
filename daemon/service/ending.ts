/** How sessions end when the daemon does: whatever a guest needs is finished, or left to the next daemon. */

import type { EventLog } from "./event_log.ts";
import { IncomingSession } from "./incoming_session.ts";
import { LazyHostSession } from "./lazy_session.ts";
import { OutgoingSession } from "./outgoing_session.ts";
import type { Session } from "./session.ts";
import { WaitingSession } from "./waiting_session.ts";

/**
 * Ends a session once nobody needs it: one of which the next daemon can go on with at the latest when it is paused.
 *
 * @param session which runs
 * @param events where is told what happens to it
 */
export async function finish(session: Session, events: EventLog): Promise<void> {
  if (session instanceof LazyHostSession) await session.idle();
  if (!isMigration(session)) return await session.cancel();
  const ended = new AbortController();
  session.ended.then(() => ended.abort());
  while (!session.over && session.atStake !== undefined && !session.isPaused) {
    await events.news(events.last, ended.signal);
  }
  if (!session.over) await session.leave();
}

/** Ends a session now; one that the next daemon can go on with is kept for it. */
export async function endNow(session: Session): Promise<void> {
  await (isMigration(session) ? session.leave() : session.cancel());
}

/** Whether the next daemon can go on with it. */
function isMigration(
  session: Session,
): session is OutgoingSession | IncomingSession | WaitingSession {
  return session instanceof OutgoingSession || session instanceof IncomingSession ||
    session instanceof WaitingSession;
}
