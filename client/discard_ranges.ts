/** Forgetting pages that the source will send again. */

import { discardMemory } from "../ffi/memory.ts";
import type { PageBitmap } from "../migration/memory/page_bitmap.ts";
import type { RamLayout } from "../migration/memory/ram_layout.ts";
import { MigrationError } from "../migration/migration_error.ts";
import type { DiscardCommand } from "../migration/protocol/discard.ts";
import type { MappedBlocks } from "./destination_memory.ts";

/**
 * Drops the pages that a discard command names, from memory and from the receive bitmap.
 *
 * @param mapped where the blocks lie; not yet registered with a userfaultfd
 * @param layout their pages' numbers
 * @param received the bitmap of pages in place
 * @returns how many pages were in place
 * @throws {MigrationError} when the command names what is not there
 */
export function discardRanges(
  mapped: MappedBlocks,
  layout: RamLayout,
  received: PageBitmap,
  command: DiscardCommand,
): number {
  const index = mapped.blocks.findIndex((block) => block.name === command.block);
  const block = mapped.blocks[index];
  if (block === undefined) {
    throw new MigrationError("BAD_PEER", `Discard in an unknown RAM block: ${command.block}`);
  }
  const pageSize = mapped.targetPageSize;
  let dropped = 0;
  for (const { start, length } of command.ranges) {
    if (start % pageSize !== 0 || length % pageSize !== 0 || start + length > block.length) {
      throw new MigrationError(
        "BAD_PEER",
        `Discard outside RAM block ${block.name}: ${length} bytes at ${start}`,
      );
    }
    discardMemory(block.address + start, length, mapped.shared);
    const first = layout.blocks[index]!.firstPage + start / pageSize;
    dropped += received.count(first, length / pageSize);
    received.clear(first, length / pageSize);
  }
  return dropped;
}
