/** The RAM blocks of an incoming migration, mapped in this process. */

import { type Backing, hostPageSize, MappedMemory, physicalMemory } from "../ffi/memory.ts";
import { type RamBlockSize, RamLayout } from "../migration/memory/ram_layout.ts";
import type { GuestBlock } from "./guest.ts";
import { MigrationError } from "../migration/migration_error.ts";

/** RAM blocks by address and page number: plain data for other threads. */
export interface MappedBlocks {
  /** The blocks in the order of the stream, with where each lies. */
  readonly blocks: readonly GuestBlock[];
  /** Bytes of a target page. */
  readonly targetPageSize: number;
  /** True when the memory is a memfd's, false when it is private. */
  readonly shared: boolean;
}

/**
 * Maps memory for the blocks that a source announces; no page exists yet. Whoever gets the result
 * owns the mappings: see {@linkcode unmapBlocks}.
 *
 * @throws {MigrationError} when this host cannot hold the blocks
 * @throws {RamLayoutError} when they cannot be
 * @throws {SyscallError} from mmap or memfd_create
 */
export function mapBlocks(
  sizes: readonly RamBlockSize[],
  targetPageSize: number,
  backing: Backing,
): MappedBlocks {
  const layout = new RamLayout(sizes, targetPageSize); // checks the lengths
  if (hostPageSize() !== targetPageSize) {
    throw new MigrationError(
      "UNSUPPORTED",
      `Page size of this host is not the guest's ${targetPageSize}: ${hostPageSize()}`,
    );
  }
  const total = layout.pageCount * targetPageSize;
  if (total > physicalMemory()) {
    throw new MigrationError(
      "TOO_LARGE",
      `Source announces more RAM than this host has, ${physicalMemory()} bytes: ${total}`,
    );
  }
  using stack = new DisposableStack();
  const memories = layout.blocks.map(({ name, usedLength }) =>
    stack.use(
      backing === "memfd"
        ? MappedMemory.memfd(usedLength, name)
        : MappedMemory.anonymous(usedLength),
    )
  );
  // A source may send pages before the userfaultfd is there.
  for (const memory of memories) memory.adviseSmallPages();
  const blocks = layout.blocks.map(({ name, usedLength }, index) => {
    const { address, fd } = memories[index]!;
    return { name, address, length: usedLength, fd };
  });
  for (const memory of memories) memory.release();
  return { blocks, targetPageSize, shared: backing === "memfd" };
}

/** Unmaps the blocks; once only. */
export function unmapBlocks({ blocks }: MappedBlocks): void {
  for (const { address, length, fd } of blocks) MappedMemory.adopt(address, length, fd).close();
}
