/** What a channel is called in messages, and the error for one that broke. */

import { MigrationError } from "../migration/migration_error.ts";

/** Who is at the other end, and which channel this is. */
export interface ChannelRole {
  readonly peer: "Source" | "Destination";
  readonly name: "main channel" | "preempt channel" | "return path";
}

/** Makes a role: one constant a channel. */
function role(peer: ChannelRole["peer"], name: ChannelRole["name"]): ChannelRole {
  return { peer, name };
}

/** The channels as the source has them. */
export const TO_DESTINATION = {
  MAIN: role("Destination", "main channel"),
  PREEMPT: role("Destination", "preempt channel"),
  RETURN_PATH: role("Destination", "return path"),
} as const;

/** The channels as the destination has them. */
export const FROM_SOURCE = {
  MAIN: role("Source", "main channel"),
  PREEMPT: role("Source", "preempt channel"),
  RETURN_PATH: role("Source", "return path"),
} as const;

/**
 * Makes the error for a channel that is there no more.
 *
 * @param how the error's name, or what else was seen
 */
export function connectionLost({ peer, name }: ChannelRole, how: string): MigrationError {
  return new MigrationError("CONNECTION_LOST", `${peer} went away: ${name}: ${how}`);
}

/**
 * Makes the error for a peer that takes nothing.
 *
 * @param milliseconds for which it was waited
 */
export function stalled({ peer, name }: ChannelRole, milliseconds: number): MigrationError {
  return new MigrationError(
    "STALLED",
    `${peer} has taken nothing on the ${name} for ${milliseconds / 1000} s: ` +
      "see whether it still runs; --stall-timeout sets how long to wait",
  );
}
