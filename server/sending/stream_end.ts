/** How the background stream ends. */

import { monotonicNanoseconds } from "../../ffi/clock.ts";
import { isLost, MigrationError } from "../../migration/migration_error.ts";
import type { Steps } from "../../migration/threads/task.ts";
import { stalled, TO_DESTINATION } from "../../channel/role.ts";
import { SendingEnd } from "../../channel/sending_end.ts";
import type { SteppedSender } from "../../channel/stepped_sender.ts";
import type { Mode } from "./mode.ts";
import type { PageRecords } from "./page_records.ts";
import type { SenderInit } from "./sender_init.ts";
import type { SourceState } from "./source_state.ts";
import type { Turns } from "./turns.ts";

/** Nanoseconds between two looks at what was acknowledged: nobody wakes a task for that. */
const ACKNOWLEDGED_INTERVAL = 200e3;

/**
 * Whether the stream may end without the pages that the image does not hold. A QEMU that has ended has zeros
 * in their place; a destination of ours takes them for lost. On a preempt channel that ends with a record
 * none could be sent after it, for which a QEMU from 8.0 on waits with a machine type of 7.2 (seen with 11.1).
 */
export function mayPassOver({ peerOurs, endsPreempt }: SourceState): boolean {
  return !peerOurs && !endsPreempt;
}

/** Whether the sender of the background stream ends the preempt channel with a record. */
export function endsPreempt(mode: Mode, state: SourceState): boolean {
  return mode !== "preempt-full" && state.endsPreempt && state.preemptFd >= 0;
}

/** Ends the preempt channel: QEMU 7.2 waits for that; who does not may have closed it by now. */
export function* endPreempt(
  records: PageRecords,
  channel: SteppedSender,
  state: SourceState,
): Steps {
  records.begin();
  records.endRecords();
  records.end();
  try {
    yield* channel.send(records.gather);
    state.urgent.addBytes(records.byteLength);
  } catch (error) {
    if (!isLost(error)) throw error;
  }
}

/**
 * Waits until the destination's kernel has all that was sent on the preempt channel. To a QEMU from 10.2 on the
 * migration is completed with the end of the main channel, whatever else it has asked for: a page that the other
 * channel loses after that, by a break, cannot be asked for again, and QEMU's main loop waits for it for ever.
 *
 * @param init the mode, and milliseconds without progress after which the destination counts as stalled
 * @param state of the migration
 * @param turns the task's waits
 * @param serve sends what is asked for meanwhile, if this task does
 * @returns false when it was told to stop first
 * @throws {MigrationError} `STALLED`
 */
export function* awaitAnswered(
  { mode, stallTimeout }: Pick<SenderInit, "mode" | "stallTimeout">,
  state: SourceState,
  turns: Turns,
  serve: () => Steps,
): Steps<boolean> {
  if (mode === "vanilla" || state.preemptFd < 0) return !state.stopped;
  // Only looked at, so that its encryption is of no matter.
  const channel = new SendingEnd({ fd: state.preemptFd }, TO_DESTINATION.PREEMPT);
  let before = Infinity;
  let end = Infinity;
  while (!state.stopped) {
    yield* serve();
    // A page counts as being served before it is claimed, and until it is in the socket.
    const { servesUrgent } = state;
    const left = channel.unacknowledged;
    if (!servesUrgent && left === 0) return true;
    const now = monotonicNanoseconds();
    if (servesUrgent || left < before) end = now + stallTimeout * 1e6;
    if (now >= end) throw stalled(channel.role, stallTimeout);
    before = left;
    yield* turns.doze(ACKNOWLEDGED_INTERVAL);
  }
  return false;
}

/** The error for a destination that has all pages and does not load the guest. */
export function notLoaded(milliseconds: number): MigrationError {
  return new MigrationError(
    "STALLED",
    `Destination has not loaded the device state after ${
      milliseconds / 1000
    } s without a request, ` +
      "all pages are sent: see whether it still runs",
  );
}
