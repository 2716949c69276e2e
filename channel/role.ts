/** What a channel is called in messages, and the error for one that broke. */

import { Errno, errnoName } from "../ffi/errno.ts";
import { TlsError } from "../ffi/tls/tls_error.ts";
import { MigrationError } from "../migration/migration_error.ts";

/** Who is at the other end, and which channel this is. */
export interface ChannelRole {
  readonly peer: "Source" | "Destination";
  readonly name: "main channel" | "preempt channel" | "return path" | "multifd channel";
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
  MULTIFD: role("Destination", "multifd channel"),
} as const;

/** The channels as the destination has them. */
export const FROM_SOURCE = {
  MAIN: role("Source", "main channel"),
  PREEMPT: role("Source", "preempt channel"),
  RETURN_PATH: role("Source", "return path"),
  MULTIFD: role("Source", "multifd channel"),
} as const;

/**
 * Makes the error for a channel that is there no more.
 *
 * @param how the error's name, or what else was seen
 */
export function connectionLost({ peer, name }: ChannelRole, how: string): MigrationError {
  return new MigrationError("CONNECTION_LOST", `${peer} went away: ${name}: ${how}`);
}

const SILENT = [Errno.ETIMEDOUT, Errno.EHOSTUNREACH, Errno.ENETUNREACH] as readonly number[];

/** Whether an errno says that the kernel does not hear or reach the other end of a connection any more. */
export function isSilence(code: number): boolean {
  return SILENT.includes(code);
}

/**
 * Makes the error for a channel that broke.
 *
 * @param code the errno of the call that noticed it
 * @param failure what is known beyond that: of a TLS session
 */
export function connectionBroken(
  role: ChannelRole,
  code: number,
  failure?: Error,
): MigrationError {
  if (failure !== undefined && !isSilence(code)) {
    const refused = failure instanceof TlsError && failure.code === "REFUSED";
    if (refused) return new MigrationError("TLS_FAILED", failure.message, { cause: failure });
    const message = `${role.peer} went away: ${role.name}: ${failure.message}`;
    return new MigrationError("CONNECTION_LOST", message, { cause: failure });
  }
  const how = errnoName(code);
  if (!isSilence(code)) return connectionLost(role, how);
  return new MigrationError(
    "STALLED",
    `${role.peer} went away: ${role.name}: ${how}: no sign of life, or nothing taken, for the stall timeout: ` +
      "see whether that host and the network between are up; --stall-timeout sets how long to wait",
  );
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
