/** Why a session is not ended: what would be lost, and what to do instead, to somebody who is about to lose it. */

import type { Fate } from "../../client/receive/fate.ts";
import type { ReceiveStatistics } from "../../client/receive/receive_statistics.ts";
import { formatCount } from "../../migration/report/units.ts";
import { ServiceError } from "./service_error.ts";
import type { Session } from "./session.ts";
import type { KeptSession } from "./state_store.ts";

/**
 * Sees that a session can be ended and nobody loses anything.
 *
 * @throws {ServiceError} `GUEST_AT_STAKE` otherwise: what is at stake, and how it goes on
 */
export function requireNothingAtStake(
  session: Pick<Session, "id" | "direction" | "atStake" | "instead">,
): void {
  const { atStake } = session;
  if (atStake === undefined) return;
  const remedy = session.instead ?? remedyOf(session);
  throw new ServiceError("GUEST_AT_STAKE", `Not cancelled. ${atStake}. ${remedy}`, remedy);
}

function remedyOf({ id, direction }: Pick<Session, "id" | "direction">): string {
  if (direction === "lazy") {
    return "Leave it alone until they have ended, and cancel it then. Only if they are of no use any more, cancel it with force";
  }
  const other = direction === "outgoing" ? "destination" : "source";
  return `Leave it alone while it is active: it ends by itself. If it is paused, postcopy recover ${id} has it go ` +
    `on, and postcopy status ${id} shows what to type at the ${other}. Only if that guest is gone for good, cancel ` +
    "it with force";
}

/**
 * Says what is at stake of a guest that is sent.
 *
 * @param missing pages that were not sent; more may have been lost on the way
 */
export function stakeThere(missing: number): string {
  if (missing === 0) {
    return "The guest may run at the destination already, and every page was sent; the destination has yet to say " +
      "that it has them all";
  }
  return `The guest may run at the destination already, and lacks at least ${missing} pages there, which it gets ` +
    "from this session alone: without it, it stands still at the first of them that it needs";
}

/**
 * Says what is at stake of a guest that is received into an image.
 *
 * @param statistics the figures so far
 */
export function stakeHere(
  { complete, partialPath }: Fate,
  { remaining, pages }: ReceiveStatistics,
): string {
  if (complete) {
    return "Every page is here, and the source has yet to be told: without that the image stays without its name, " +
      partialPath;
  }
  return "The source has switched to postcopy and cannot let the guest go on, which stands still there; " +
    `${formatCount(remaining)} of ${formatCount(pages)} pages are still to come`;
}

/** Says what is at stake of a guest with which a daemon before this one had begun, and nobody goes on yet. */
export function stakeKept({ request, partial }: Pick<KeptSession, "request" | "partial">): string {
  if (request.direction === "outgoing") {
    return "The guest may run at the destination already, and gets the pages that it lacks there from this session " +
      "alone, once that is gone on with: without it, it stands still at the first of them that it needs";
  }
  return "The source has switched to postcopy and cannot let the guest go on, which stands still there; what has " +
    `come of it is in ${
      partial ?? "its partial image"
    }, and the rest comes to this session once that is gone on with`;
}
