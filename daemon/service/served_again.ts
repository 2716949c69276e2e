/** How a migration of the daemon is gone on with once it has ended, in the daemon's own words. */

import { shellWord } from "../../migration/command/shell_word.ts";
import type { ServedAgain } from "../../server/outgoing/fate.ts";
import type { SessionRecord } from "./session_record.ts";

/** What starts a migration, for a shell. */
export function migrateCommand(image: string, to: string): string {
  return `postcopy migrate ${shellWord(image)} --to ${shellWord(to)}`;
}

/**
 * Advice for a guest that ran before its migration had ended: it is read when that ends.
 *
 * @param record of the session
 * @param isLeft whether the next daemon goes on with it
 */
export function servedAgain(record: SessionRecord, isLeft: () => boolean): ServedAgain {
  const { id, image } = record;
  return {
    get recover() {
      if (isLeft()) {
        return "start the daemon, which goes on with it by itself (where it listens elsewhere now: " +
          `postcopy recover ${id} --to ADDRESS)`;
      }
      // It may listen at any free port.
      const to = record.peer.replace(/^(tcp:.*:)\d+$/, "$1PORT");
      return `go on with it (${
        migrateCommand(image, to)
      } --recover, its other options as they were)`;
    },
    get startAnew() {
      return isLeft()
        ? `end this in the next daemon (postcopy cancel ${id} --force) and start it with --start-anew`
        : "start it again with --start-anew in place of --recover";
    },
  };
}
