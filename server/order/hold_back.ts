/** Holding the background stream back, so that a guest asks for all that it touches. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import type { Steps } from "../../migration/threads/task.ts";
import type { SourceState } from "../sending/source_state.ts";
import type { Turns } from "../sending/turns.ts";
import type { OrderInit } from "./order_init.ts";

/** Nanoseconds after which it looks whether the guest is loaded, though nobody woke it. */
const LONGEST_NAP = 500e6;

/**
 * Waits for as long as a migration's order says, from the moment at which the guest is loaded, or until it is
 * told to stop. A destination that does not load it counts as stalled by what follows.
 *
 * @param state of the migration
 * @param stallTimeout milliseconds for which it is waited for a guest that is not loaded
 * @param turns the task's waits
 * @param serve sends what was asked for meanwhile
 */
export function* holdBack(
  order: OrderInit | undefined,
  state: SourceState,
  stallTimeout: number,
  turns: Turns,
  serve: () => Steps,
): Steps {
  if (order === undefined || order.holdBack <= 0) return;
  let loaded = false;
  let end = monotonicNanoseconds() + stallTimeout * 1e6;
  while (!state.stopped) {
    yield* serve();
    const now = monotonicNanoseconds();
    if (!loaded && state.guestLoaded) {
      loaded = true;
      end = now + order.holdBack * 1e6;
    }
    if (now >= end) return;
    yield* turns.nap(Math.min(end - now, LONGEST_NAP));
  }
}
