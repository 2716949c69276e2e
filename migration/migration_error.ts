/** How a migration fails, at either end. */

import { WorkerThreadError } from "./threads/failure.ts";

/** Machine-readable reasons why a migration failed, or is paused. */
export type MigrationErrorCode =
  /** The other end closed the connection, or the network broke. */
  | "CONNECTION_LOST"
  /** The other end takes nothing, confirms nothing, or gives no sign of life. */
  | "STALLED"
  /** One end does not accept the other, or they cannot agree on how to encrypt: `cause` is a `TlsError`. */
  | "TLS_FAILED"
  /** The other end says that it failed. */
  | "PEER_FAILED"
  /** The other end asked for what is not there, or sent what has no place there. */
  | "BAD_PEER"
  /** The other end wants what is not supported here, or this host's kernel lacks what is needed. */
  | "UNSUPPORTED"
  /** The other end announces more than this host can hold. */
  | "TOO_LARGE"
  /** The guest could not be loaded or started, or its memory vanished. */
  | "GUEST_FAILED"
  /** The source ended without sending every page. */
  | "PAGES_MISSING"
  /** A page could not be compressed. */
  | "COMPRESSION_FAILED"
  /** The image that it was to end in cannot be written. */
  | "IMAGE_FAILED"
  /** The image that is served is not what it was when it was opened. */
  | "IMAGE_CHANGED"
  /** A page of the image that is served cannot be read, or was damaged. */
  | "IMAGE_UNREADABLE"
  /** A thread of this program failed, which is a mistake of it, and its sessions with it. */
  | "THREAD_DIED"
  /** It was paused from this side. */
  | "PAUSED"
  /** It was ended from this side. */
  | "CANCELLED";

/** A migration that failed. At the source nothing is lost: it may be tried again. */
export class MigrationError extends Error {
  /** The class's name. */
  override readonly name = "MigrationError";
  /** Machine-readable reason. */
  readonly code: MigrationErrorCode;

  /**
   * Makes the error.
   *
   * @param code machine-readable reason
   * @param message what happened and what to do about it
   */
  constructor(code: MigrationErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * Makes the MigrationError that ended a task one again: it crossed as plain data. So is the end of its
 * thread. Any other error is returned as it is.
 */
export function reviveMigrationError(error: unknown): unknown {
  if (!(error instanceof WorkerThreadError)) return error;
  if (error.name !== "MigrationError" && error.code !== "THREAD_DIED") return error;
  return new MigrationError(error.code as MigrationErrorCode, error.message, { cause: error });
}

/** Whether an error says that one end does not accept the other. */
export function isTlsFailure(error: unknown): error is MigrationError {
  return error instanceof MigrationError && error.code === "TLS_FAILED";
}

/** Whether an error says that the other end has closed a channel, or the network broke. */
export function isLost(error: unknown): error is MigrationError {
  return error instanceof MigrationError && error.code === "CONNECTION_LOST";
}
