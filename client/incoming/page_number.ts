/** The numbers of the pages that a source sends. */

import type { RamBlock } from "../../migration/memory/ram_layout.ts";
import { MigrationError } from "../../migration/migration_error.ts";

/**
 * Returns the number of a page that a source sent.
 *
 * @param block the selected block, if any
 * @param offset bytes from its start, a multiple of the target page
 * @param pageSize bytes of a target page
 * @throws {MigrationError} when there is no such page
 */
export function pageNumber(block: RamBlock | undefined, offset: number, pageSize: number): number {
  if (block === undefined) throw new MigrationError("BAD_PEER", "Page before any RAM block");
  if (offset + pageSize > block.usedLength) {
    throw new MigrationError(
      "BAD_PEER",
      `Page outside RAM block ${block.name} of ${block.usedLength} bytes: at ${offset}`,
    );
  }
  return block.firstPage + offset / pageSize;
}

/**
 * Returns the index of the block whose pages follow.
 *
 * @param blocks all that there are
 * @param name how the source calls it
 * @throws {MigrationError} when there is no such block
 */
export function blockIndex(blocks: readonly RamBlock[], name: string): number {
  const index = blocks.findIndex((block) => block.name === name);
  if (index < 0) throw new MigrationError("BAD_PEER", `Page of an unknown RAM block: ${name}`);
  return index;
}
