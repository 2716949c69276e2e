/** Where a guest is whose live migration failed, and what becomes of it here. */

import type { LiveGuest } from "../../migration/guest.ts";
import { cannotGoOn, goesOn, ranThere, undecided } from "../outgoing/fate.ts";
import type { Outgoing } from "../outgoing/outgoing.ts";

/** A live migration that failed and was ended: the destination was heard to its end. */
export interface FailedMigration {
  readonly outgoing: Outgoing;
  readonly guest: LiveGuest;
  /** Whether the guest was stopped here. */
  readonly stopped: boolean;
  /** Whether memory was still to be sent when it was handed over. */
  readonly bringsRest: boolean;
  /** Whether its owner wanted the end. */
  readonly cancelled: boolean;
}

/**
 * Says where the migration stands, and lets the guest go on here, if it may. What the destination had confirmed
 * before it was lost holds.
 *
 * @param error why it failed
 * @returns the error to throw; undefined when the destination has the guest, with all of its memory
 */
export async function settleGuest(error: unknown, failed: FailedMigration): Promise<unknown> {
  const { outgoing, guest } = failed;
  const { state, dirty, times, runsNowhere } = outgoing;
  if (state.guestLoaded && !failed.bringsRest && !runsNowhere) { // it has everything
    times.loaded ||= times.ended;
    outgoing.setStatus("completed");
    return undefined;
  }
  if (state.guestLoaded && !runsNowhere) {
    outgoing.setStatus("failed");
    return ranThere(error, dirty.count());
  }
  outgoing.setStatus(failed.cancelled ? "cancelled" : "failed");
  if (state.switched && !runsNowhere) return undecided(error);
  try {
    if (failed.stopped) await guest.resume();
  } catch (cause) {
    return cannotGoOn(error, cause);
  }
  return goesOn(error);
}
