/** What a compressing source needs its destination to understand, and what it says when it does not. */

import type { CompressionMethod } from "../../migration/compression.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { EXTENSION } from "../../migration/protocol/extensions.ts";
import type { Answers } from "./answers.ts";
import { PING } from "../sending/control_stream.ts";

/** Milliseconds for a destination to say what it understands: it has nothing else to do yet. */
const PATIENCE = 5_000;

/**
 * Sees that a destination that was greeted understands the pages that will be sent to it.
 *
 * @param method how pages are compressed
 * @param besidePreempt whether compressed pages may follow the switchover beside a preempt channel
 * @param answers what the destination says
 * @param signal ends the wait
 * @returns the extensions that the stream uses
 * @throws {MigrationError} `UNSUPPORTED` when it does not understand them, `STALLED` when it says nothing
 */
export async function agreeOnCompression(
  method: CompressionMethod,
  besidePreempt: boolean,
  answers: Answers,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const needed = neededExtensions(method, besidePreempt);
  if (needed.length === 0) return [];
  if (!await answers.heard(PING.RETURN_PATH, PATIENCE, signal)) throw notAnswered(PATIENCE);
  const missing = needed.filter((name) => !answers.extensions.includes(name));
  if (missing.length > 0) throw notUnderstood(missing);
  return needed;
}

/** The extensions that a stream needs: none for what QEMU's capability `compress` does as well. */
function neededExtensions(method: CompressionMethod, besidePreempt: boolean): string[] {
  const needed: string[] = [];
  if (method === "zstd") needed.push(EXTENSION.ZSTD);
  if (besidePreempt) needed.push(EXTENSION.COMPRESS_POSTCOPY);
  return needed;
}

/** The error for a destination that did not list what is needed, with what can be done without it. */
function notUnderstood(missing: readonly string[]): MigrationError {
  if (missing.includes(EXTENSION.ZSTD)) {
    return new MigrationError(
      "UNSUPPORTED",
      "Destination does not understand zstd pages: QEMU's compress is zlib alone: use --compress zlib " +
        "towards a QEMU up to 9.0, or --compress none; a QEMU that was refused must be started again",
    );
  }
  return new MigrationError(
    "UNSUPPORTED",
    "Destination cannot take compressed pages beside a preempt channel, as no QEMU can (Postcopy " +
      "preempt not compatible with compress): use --mode vanilla, with postcopy-preempt off and " +
      "compress on there, or --compress none; a QEMU that was refused must be started again",
  );
}

/** The error for a destination that was asked what it understands and says nothing. */
function notAnswered(milliseconds: number): MigrationError {
  return new MigrationError(
    "STALLED",
    `Destination has not said for ${
      milliseconds / 1000
    } s whether it understands these compressed ` +
      "pages: see whether it still runs, or use --compress none",
  );
}
