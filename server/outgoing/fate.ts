/** What to do about a migration that failed, before and after the machine ran. */

import { MigrationError } from "../../migration/migration_error.ts";
import { WorkerThreadError } from "../../migration/threads/failure.ts";
import type { CompressionOptions } from "../compression/compression_settings.ts";
import type { Mode } from "../sending/mode.ts";

/**
 * Adds to an error what a destination needs: one that refuses a machine mostly just goes away, or
 * waits for ever, and says why only in its own log.
 *
 * @param error why the migration failed, before the destination had loaded the device state
 * @param machine the image's machine type
 * @param mode how requested pages were to be sent
 * @param compress how pages were compressed; undefined when they were not
 * @returns an error with the same code; the error itself when it says all there is to say
 */
export function withAdvice(
  error: unknown,
  machine: string,
  mode: Mode,
  compress: CompressionOptions | undefined,
): unknown {
  if (!(error instanceof MigrationError) || !ADVISED.has(error.code)) return error;
  const preempt = mode === "vanilla" ? "postcopy-preempt off" : "postcopy-preempt on";
  return extended(
    error,
    "the machine did not start: look into the destination's log, and see that it " +
      `has machine type ${machine}, the same memory and devices, and the capabilities postcopy-ram ` +
      `on, ${preempt}${
        takenByQemu(mode, compress) ? ", compress on (QEMU 7.2 to 9.0 has it)" : ""
      }`,
  );
}

/** Whether a QEMU may be at the other end: it takes nothing else compressed. */
function takenByQemu(mode: Mode, compress: CompressionOptions | undefined): boolean {
  return compress?.method === "zlib" && mode === "vanilla";
}

const ADVISED = new Set<string>(["CONNECTION_LOST", "PEER_FAILED", "STALLED"]);

/**
 * Says what became of a guest that ran before its migration ended: it cannot go on without the source.
 *
 * @param missing pages that were not sent; more may have been lost on the way
 */
export function lossOf(missing: number): string {
  if (missing === 0) {
    return "the guest ran at the destination already, and every page was sent: ask the destination " +
      "(info migrate) before you do anything: it may be complete";
  }
  return `the guest ran at the destination already and lacks at least ${missing} pages there: save what ` +
    "you can from inside it before you end it, and do not serve the image again over disks that it has " +
    "written: put them back to the snapshot that belongs to the image first";
}

/** Adds {@linkcode lossOf} to an error; errors of another kind stay as they are. */
export function withLoss(error: unknown, missing: number): unknown {
  return extended(error, lossOf(missing));
}

/** Adds to an error of a live migration that nothing is lost; errors of another kind stay as they are. */
export function goesOn(error: unknown): unknown {
  return extended(error, "the guest goes on here");
}

/**
 * Adds to an error of a live migration what became of a guest that ran at the destination already.
 *
 * @param missing pages that were not sent; more may have been lost on the way
 */
export function ranThere(error: unknown, missing: number): unknown {
  return extended(
    error,
    missing === 0
      ? "the guest was loaded at the destination, with all its memory sent: see whether it runs there"
      : `the guest was loaded at the destination already and lacks at least ${missing} pages there: ` +
        "it stays stopped here, its memory as it was at the stop",
  );
}

/** Adds to an error of a live migration that the destination could not be asked where the guest runs. */
export function undecided(error: unknown): unknown {
  return extended(
    error,
    "nobody can say whether the guest runs at the destination: it stays stopped here, its memory as it " +
      "was at the stop: look there, and let it go on here only if it does not run there",
  );
}

/** The error for a guest that was to go on here after a failed migration, and cannot. */
export function cannotGoOn(error: unknown, cause: unknown): MigrationError {
  const message = (thrown: unknown): string =>
    thrown instanceof Error ? thrown.message : String(thrown);
  return new MigrationError(
    "GUEST_FAILED",
    `${message(error)}: the guest cannot go on here either: ${message(cause)}`,
    { cause: new AggregateError([error, cause]) },
  );
}

/** What a thread of ours failed of is told like a migration's own failure: an owner must know of the guest. */
function extended(error: unknown, what: string): unknown {
  if (error instanceof WorkerThreadError) {
    const { name, code, stack } = error;
    return new WorkerThreadError({ name, code, message: `${error.message}: ${what}`, stack });
  }
  if (!(error instanceof MigrationError)) return error;
  return new MigrationError(error.code, `${error.message}: ${what}`, { cause: error });
}
