/** What became of a guest whose migration into an image failed. */

import { MigrationError, type MigrationErrorCode } from "../../migration/migration_error.ts";
import { BY_RECEIVE, type TakenUpAgain } from "../../image/taken_up.ts";
import { formatCount } from "../../migration/report/units.ts";
import type { DestinationStatus } from "../statistics.ts";
import { Holder, type ReceiveState } from "./receive_state.ts";
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
 * @param again how the file is taken up again
 * @returns a MigrationError with the error as its cause; a mistake of this program stays what it is
 */
export function withFate(
  error: unknown,
  cancelled: boolean,
  fate: Fate,
  statistics: ReceiveStatistics,
  again: TakenUpAgain = BY_RECEIVE,
): unknown {
  const code = cancelled ? "CANCELLED" : codeOf(error);
  if (code === undefined) return error;
  const message = error instanceof Error ? error.message : String(error);
  const told = fate.holder === Holder.IMAGE ? "" : `: ${fateOf(fate, statistics, again)}`;
  return new MigrationError(code, message + told, { cause: error });
}

/**
 * Says what is lost if a migration is ended whose source has switched to postcopy.
 *
 * @param statistics the figures so far
 */
export function lossOf({ complete, partialPath }: Fate, statistics: ReceiveStatistics): string {
  if (complete) {
    return "Every page is here, and the source has yet to be told: interrupt once more and the image " +
      `stays without its name, ${partialPath}`;
  }
  const { remaining, pages } = statistics;
  return "The source has switched to postcopy and cannot let the guest go on: it stays stopped there if " +
    `you interrupt once more, for ${formatCount(remaining)} of ${
      formatCount(pages)
    } pages are still to ` +
    `come, until the file is taken up again: receive --recover ${partialPath}`;
}

/**
 * Says how a migration is resumed that is paused.
 *
 * @param resume what is typed at the source
 * @param statistics the figures so far
 */
export function resumption(
  { holder, complete, partialPath }: Fate,
  resume: string,
  statistics: ReceiveStatistics,
): string {
  if (holder === Holder.IMAGE) {
    return "every page is here, and the image has its name, of which the source has not heard: unless it " +
      "resumes within seconds, end it with quit";
  }
  if (holder === Holder.SWITCHING) {
    return "no image can be made of it. When info migrate says postcopy-paused at the source, " +
      `${resume} there hands the guest back, and then cont there lets it go on. When it says anything ` +
      "else, end this: the guest runs there, or the command cont lets it go on";
  }
  if (complete) {
    return `every page that was to come is here. When info migrate says postcopy-paused at the source, ` +
      `resume it there with ${resume}. When it does not, see that the guest does not run there, end this, ` +
      `and rename the file: ${partialPath}`;
  }
  const { remaining, pages } = statistics;
  return `the source keeps the guest stopped, with all of its memory, and ${
    formatCount(remaining)
  } of ` +
    `${formatCount(pages)} pages are to come. Resume it there with ${resume}: this waits`;
}

function fateOf(
  { holder, complete, partialPath }: Fate,
  statistics: ReceiveStatistics,
  again: TakenUpAgain,
): string {
  if (holder === Holder.SOURCE) {
    return "no image was made, and the guest is unharmed at the source";
  }
  if (holder === Holder.SOURCE_DONE) {
    return "no image was made; the source takes the guest for moved, but has all of it: the command " +
      "cont there lets it go on";
  }
  if (holder === Holder.SWITCHING) {
    return "no image can be made of it, and the source has the guest, with all of its memory. See info " +
      "migrate there: when it says postcopy-paused, neither cancel nor end it, but have the guest handed " +
      `back: ${
        again(partialPath)
      }, then cont. When it says anything else, remove the file: the guest ` +
      "runs there, or the command cont lets it go on";
  }
  if (complete) {
    return "the image is complete but for its name: see that the guest does not run on at the " +
      `source, then rename the file: ${partialPath}`;
  }
  const { remaining, pages } = statistics;
  return "the source had switched to postcopy and, before QEMU 10.2, cannot let the guest go on: it " +
    "keeps it stopped, with all of its memory, until it is ended; of the image " +
    `${formatCount(remaining)} of ${
      formatCount(pages)
    } pages are missing. Leave the source as it is and take the file up again: ${
      again(partialPath)
    }`;
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

/**
 * Sees that a migration can be paused: its source has the guest, stopped, and cannot take it back.
 *
 * @throws {Error} in any other state: nothing would be left to resume
 */
export function requirePausable(
  status: DestinationStatus,
  { holder, sealed }: Pick<ReceiveState, "holder" | "sealed">,
): void {
  if (status === "postcopy-recover") {
    // QEMU 7.2 cannot resume again after a recovery that broke.
    throw new Error("Cannot pause while the source resumes: wait until it is postcopy-active");
  }
  if (status === "postcopy-active" && holder === Holder.SWITCHED && !sealed) return;
  const remedy = status === "postcopy-active" ? "the source can still take it back" : status;
  throw new Error(`Cannot pause before the guest has switched to postcopy for good: ${remedy}`);
}
