/** Whether a run ended as it may. */

import type { DestinationEnd } from "./destination_ends.ts";
import type { Plan } from "./draw.ts";
import { LiveEnd } from "./live_end.ts";
import { describeError } from "./run_log.ts";
import type { SourceEnd } from "./source_ends.ts";
import type { Struck } from "./strike.ts";

/** How a run ended. */
export type Outcome =
  /** All is at the destination, every byte compared. */
  | "moved"
  /** The guest never ran at the destination, and goes on where it was. */
  | "stayed"
  /** The guest is held, and the reason was told. */
  | "held";

/** Judges a run that is over; throws when it ended as it must not. */
export async function judge(
  plan: Plan,
  source: SourceEnd,
  destination: DestinationEnd,
  struck: readonly Struck[],
): Promise<Outcome> {
  const why = await Promise.race([source.ended, Promise.resolve(source.status)]);
  if (destination.status === "completed") {
    await destination.settle();
    await destination.check();
    if (source.hasGuest) throw new Error("The guest runs at both ends");
    if (source.status !== "completed" && !wasRestarted(struck)) {
      throw new Error(`All is there, and the source does not know: ${say(why)}`);
    }
    return "moved";
  }
  const told = await Promise.race([destination.ended, Promise.resolve(undefined)]);
  if (struck.length > 0 && keepsGuest(told) && source.status.startsWith("postcopy")) return "held";
  if (struck.length === 0) throw new Error(`Failed without a fault: ${say(why)}`);
  if (destination.hasGuest) throw new Error(`The guest runs there and lacks pages: ${say(why)}`);
  if (!(why instanceof Error) || why.message === "") throw new Error(`No reason told: ${say(why)}`);
  if (source instanceof LiveEnd && !await source.goesOn()) {
    throw new Error(`The guest runs nowhere: ${say(why)}`);
  }
  if (plan.source === "script" && !source.hasGuest) {
    throw new Error("The source had switched for good");
  }
  return "stayed";
}

/**
 * Whether a receiver says that the source keeps the guest, which cannot go on by itself: a connection broke
 * between the word that the guest is loaded and the sign that the source has heard it.
 */
export function keepsGuest(error: Error | undefined): boolean {
  const { message = "" } = error ?? {};
  return message.includes("the source has the guest, with all of its memory") &&
    message.includes("postcopy receive --recover");
}

/** A source that was killed when all had been sent need not hear the end. */
function wasRestarted(struck: readonly Struck[]): boolean {
  return struck.some(({ act }) => act.kind === "restart");
}

function say(why: unknown): string {
  return why instanceof Error ? describeError(why) : String(why);
}
