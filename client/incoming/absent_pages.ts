/** Pages that a source names because it does not hold them: zeros, which it never sends. */

import { MigrationError } from "../../migration/migration_error.ts";
import type { RamBlock, RamLayout } from "../../migration/memory/ram_layout.ts";
import type { AbsentPagesCommand } from "../../migration/protocol/command.ts";
import { EXTENSION } from "../../migration/protocol/extensions.ts";

/**
 * When a stream may name such pages: the memory is empty there, and stays so, zeros without a page. So none may
 * have come before; or, where the source has said so, none of those that it names.
 */
export class AbsentNames {
  #allowed = false;
  #behindPages = false;
  #named = false;

  /** The source uses these extensions. */
  allow(names: readonly string[]): void {
    this.#allowed ||= names.includes(EXTENSION.ABSENT_PAGES);
    this.#behindPages ||= names.includes(EXTENSION.ABSENT_BEHIND_PAGES);
  }

  /**
   * Some are named.
   *
   * @param open whether the blocks are known, and it is before LISTEN
   * @param pagesCame whether there was a page
   * @throws {MigrationError} `BAD_PEER` when this is not the moment
   */
  take(open: boolean, pagesCame: boolean): void {
    if (!this.#allowed || !open || (pagesCame && !this.#behindPages)) {
      throw new MigrationError(
        "BAD_PEER",
        "Absent pages without the extension, before the RAM blocks, or after a page or LISTEN",
      );
    }
    this.#named = true;
  }

  /**
   * Before LISTEN there comes what might put a page in their place, or forget them.
   *
   * @throws {MigrationError} `BAD_PEER` when some were named
   */
  refuse(what: string): void {
    if (!this.#named) return;
    throw new MigrationError("BAD_PEER", `${what} between the names of absent pages and LISTEN`);
  }
}

/**
 * Gives each run of a command, once all of them are seen to be whole host pages of its block.
 *
 * @param layout the blocks
 * @param take called with the first page, counted in all blocks, and how many
 * @throws {MigrationError} `BAD_PEER` when they are not
 */
export function takeAbsentRuns(
  layout: RamLayout,
  { block: name, runs }: AbsentPagesCommand,
  take: (first: number, count: number) => void,
): void {
  const block = layout.find(name);
  if (block === undefined) {
    throw new MigrationError("BAD_PEER", `Source lacks pages of an unknown RAM block: ${name}`);
  }
  for (let at = 0; at < runs.length; at += 2) checkRun(block, runs[at]!, runs[at + 1]!);
  for (let at = 0; at < runs.length; at += 2) take(block.firstPage + runs[at]!, runs[at + 1]!);
}

function checkRun({ name, pageCount, pagesPerHostPage }: RamBlock, first: number, count: number) {
  const whole = first % pagesPerHostPage === 0 && count % pagesPerHostPage === 0;
  if (first + count <= pageCount && whole) return;
  throw new MigrationError(
    "BAD_PEER",
    `Source lacks pages that are not in RAM block ${name} of ${pageCount} pages, or not all of a host ` +
      `page of ${pagesPerHostPage}: ${count} from page ${first}`,
  );
}
