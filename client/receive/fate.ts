/** What became of a guest whose migration into an image failed. */

import { MigrationError, type MigrationErrorCode } from "../../migration/migration_error.ts";
import { formatCount } from "../../migration/report/units.ts";
import { Holder } from "./receive_state.ts";
import type { ReceiveStatistics } from "./receive_statistics.ts";

/** Who has what when a migration has failed. */
export interface Fate {
  /** Who can run the guest. */
  readonly holder: Holder;
  /** Whether the file is complete, though it has not the image's name. */
  readonly complete: boolean;
  /** The name of the file that was written. */
  readonly partialPath: string;
}

/**
 * Adds to an error what became of the guest, and what to do.
 *
 * @param error why the migration failed
 * @param cancelled whether it was ended from this side
 * @param statistics the figures at the end
 * @returns a MigrationError with the error as its cause; a mistake of this program stays what it is
 */
export function withFate(
  error: unknown,
  cancelled: boolean,
  fate: Fate,
  statistics: ReceiveStatistics,
): unknown {
  const code = cancelled ? "CANCELLED" : codeOf(error);
  if (code === undefined) return error;
  const message = error instanceof Error ? error.message : String(error);
  const told = fate.holder === Holder.IMAGE ? "" : `: ${fateOf(fate, statistics)}`;
  return new MigrationError(code, message + told, { cause: error });
}

function fateOf({ holder, complete, partialPath }: Fate, statistics: ReceiveStatistics): string {
  if (holder === Holder.SOURCE) {
    return "no image was made, and the guest is unharmed at the source";
  }
  if (holder === Holder.SOURCE_DONE) {
    return "no image was made; the source takes the guest for moved, but has all of it: the command " +
      "cont there lets it go on";
  }
  if (complete) {
    return "the image is complete but for its name: see that the guest does not run on at the " +
      `source, then rename the file: ${partialPath}`;
  }
  const { remaining, pages } = statistics;
  return "the source had switched to postcopy and, before QEMU 10.2, cannot let the guest go on: it " +
    "keeps it stopped, with all of its memory, until it is ended; of the image " +
    `${formatCount(remaining)} of ${formatCount(pages)} pages are missing: ${partialPath}`;
}

/** Errors of the task have crossed as plain data, with their name. */
function codeOf(error: unknown): MigrationErrorCode | undefined {
  if (error instanceof MigrationError) return error.code;
  switch (error instanceof Error ? error.name : "") {
    case "SyscallError":
      return "IMAGE_FAILED";
    case "ProtocolError":
    case "RamLayoutError":
      return "BAD_PEER";
    default:
      return undefined;
  }
}
