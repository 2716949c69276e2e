/** What a source has turned on, as it says before its first page: what of it is supported here. */

import { MigrationError } from "../../migration/migration_error.ts";
import type { Command } from "../../migration/protocol/command.ts";
import type { Configuration } from "../../migration/protocol/configuration.ts";
import { EXTENSION } from "../../migration/protocol/extensions.ts";
import type { IncomingPages } from "./incoming_memory.ts";

/**
 * Sees that a source has no capability on of which its configuration tells.
 *
 * @throws {MigrationError} `UNSUPPORTED` when it has
 */
export function requireNoCapabilities({ capabilities }: Configuration): void {
  if ((capabilities?.length ?? 0) === 0) return;
  throw new MigrationError(
    "UNSUPPORTED",
    `Source has capabilities on that are not supported: ${capabilities}`,
  );
}

/**
 * Reads an ADVISE: the source may switch to postcopy.
 *
 * @param targetPageSize bytes of a target page, as the configuration told
 * @returns the page sizes of its RAM blocks, one bit each
 * @throws {MigrationError} `UNSUPPORTED` for postcopy of something else, or other target pages
 */
export function pageSizesOf(
  { ram }: Extract<Command, { kind: "advise" }>,
  targetPageSize: number,
): number {
  if (ram === undefined) {
    // Postcopy of block dirty bitmaps alone: turning postcopy-ram on would not leave them out.
    throw new MigrationError(
      "UNSUPPORTED",
      "Source has the capability dirty-bitmaps on, which cannot be carried yet: turn it off there",
    );
  }
  if (ram.targetPageSize !== targetPageSize) {
    throw new MigrationError(
      "UNSUPPORTED",
      `Target pages other than ${targetPageSize} bytes are not supported: ${ram.targetPageSize}`,
    );
  }
  return ram.pageSizeSummary;
}

/**
 * Makes ready for what a source does beyond QEMU's protocol.
 *
 * @param names of the extensions
 * @param memory where its pages go
 * @throws {MigrationError} `UNSUPPORTED` for one that is not known
 */
export function useExtensions(names: readonly string[], memory: IncomingPages): void {
  for (const name of names) {
    switch (name) {
      case EXTENSION.ZSTD:
        memory.compressedBy("zstd");
        break;
      case EXTENSION.COMPRESS_POSTCOPY:
        break; // a page is as welcome then as before
      case EXTENSION.ABSENT_PAGES:
      case EXTENSION.ABSENT_BEHIND_PAGES:
        break; // from here on the command may come
      default:
        throw new MigrationError(
          "UNSUPPORTED",
          `Source uses an extension that is not known here, take the same version for both: ${name}`,
        );
    }
  }
}
