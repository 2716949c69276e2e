/** What to do about a migration that failed, before and after the machine ran. */

import { MigrationError } from "../migration/migration_error.ts";
import type { Mode } from "./mode.ts";

/**
 * Adds to an error what a destination needs: one that refuses a machine mostly just goes away, or
 * waits for ever, and says why only in its own log.
 *
 * @param error why the migration failed, before the destination had loaded the device state
 * @param machine the image's machine type
 * @param mode how requested pages were to be sent
 * @returns an error with the same code; the error itself when it says all there is to say
 */
export function withAdvice(error: unknown, machine: string, mode: Mode): unknown {
  if (!(error instanceof MigrationError) || !ADVISED.has(error.code)) return error;
  const preempt = mode === "vanilla" ? "postcopy-preempt off" : "postcopy-preempt on";
  return new MigrationError(
    error.code,
    `${error.message}: the machine did not start: look into the destination's log, and see that it ` +
      `has machine type ${machine}, the same memory and devices, and the capabilities postcopy-ram ` +
      `on, ${preempt}`,
    { cause: error },
  );
}

const ADVISED = new Set<string>(["CONNECTION_LOST", "PEER_FAILED", "STALLED"]);

/**
 * Says what became of a guest that ran before its migration ended: it cannot go on without the source.
 *
 * @param missing pages that were not sent; more may have been lost on the way
 */
export function lossOf(missing: number): string {
  return `the guest ran at the destination already and lacks at least ${missing} pages there: end it, ` +
    "another serve starts it from the image again";
}

/** Adds {@linkcode lossOf} to an error; errors of another kind stay as they are. */
export function withLoss(error: unknown, missing: number): unknown {
  if (!(error instanceof MigrationError)) return error;
  return new MigrationError(error.code, `${error.message}: ${lossOf(missing)}`, { cause: error });
}
