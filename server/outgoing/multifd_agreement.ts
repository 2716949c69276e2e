/** What a source with multifd hears of a destination that has not as many channels, and what it says then. */

import { isLost, MigrationError } from "../../migration/migration_error.ts";
import { SyscallError } from "../../ffi/errno.ts";
import { MULTIFD_EXTENSION, multifdExtension } from "../../migration/protocol/extensions.ts";
import type { Answers } from "./answers.ts";
import { PING } from "../sending/control_stream.ts";
import { isTimeout } from "./preempt_connection.ts";

/** Milliseconds for a destination to answer once all channels are connected: it waits for nothing else. */
const PATIENCE = 10_000;

/**
 * Sees that a destination that was greeted has all the channels that it waits for. One of ours says how many these
 * are; a QEMU that waits for more says nothing.
 *
 * @param channels that were opened
 * @param signal ends the wait
 * @throws {MigrationError} `UNSUPPORTED` when it expects another number
 */
export async function agreeOnMultifd(
  channels: number,
  answers: Answers,
  signal: AbortSignal,
): Promise<void> {
  if (!await answers.heard(PING.RETURN_PATH, PATIENCE, signal)) throw notAnswered(channels);
  if (answers.extensions.length === 0) return;
  const listed = answers.extensions.find((name) => name.startsWith(MULTIFD_EXTENSION));
  if (listed === multifdExtension(channels)) return;
  const expected = listed?.slice(MULTIFD_EXTENSION.length);
  throw new MigrationError(
    "UNSUPPORTED",
    expected === undefined
      ? `Destination expects no multifd channels, and there are ${channels}: give it --multifd ${channels}, ` +
        "or leave --multifd-channels out here"
      : `Destination expects ${expected} multifd channels, and there are ${channels}: give ` +
        `--multifd-channels ${expected} here, or --multifd ${channels} there`,
  );
}

/** The error for a destination that does not take a channel. */
export function notTaken(channels: number, cause: unknown): unknown {
  if (!(cause instanceof SyscallError) && !isTimeout(cause) && !isLost(cause)) return cause;
  const how = cause instanceof SyscallError ? cause.code : (cause as Error).message;
  return new MigrationError(
    "CONNECTION_LOST",
    `Destination does not take ${channels} multifd channels: ${how}: turn the capability multifd on there, ` +
      `with multifd-channels ${channels} (one of ours: --multifd ${channels})`,
    { cause },
  );
}

function notAnswered(channels: number): MigrationError {
  return new MigrationError(
    "STALLED",
    `Destination has said nothing for ${
      PATIENCE / 1000
    } s since ${channels} multifd channels were opened: it ` +
      `may wait for more: set its multifd-channels to ${channels}, or give --multifd-channels as many as it has`,
  );
}

/**
 * The error for pages on demand behind multifd, towards a QEMU that may hang then, with its guest running.
 *
 * @param instead what is done, or can be
 */
export function noPostcopy(machine: string, instead: string): MigrationError {
  return new MigrationError(
    "UNSUPPORTED",
    "Postcopy cannot follow multifd at a QEMU whose machine type does not say that it is 8.1 or later: " +
      `${machine}: ${instead}, or leave --multifd-channels out`,
  );
}
