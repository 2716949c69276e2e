/** The RAM blocks of an incoming migration, mapped in this process. */

import { type Backing, hostPageSize, MappedMemory, physicalMemory } from "../../ffi/memory.ts";
import { hugePageRemedy, hugePages } from "../../ffi/huge_pages.ts";
import { RegisterMode, registerRange, unregisterRange } from "../../ffi/userfaultfd.ts";
import { LARGEST_HOST_PAGE } from "../../migration/memory/page_sizes.ts";
import { type RamBlockSize, RamLayout } from "../../migration/memory/ram_layout.ts";
import type { GuestBlock } from "../../migration/memory/guest_block.ts";
import { MigrationError } from "../../migration/migration_error.ts";

/** RAM blocks by address and page number: plain data for other threads. */
export interface MappedBlocks {
  /** The blocks in the order of the stream, with where each lies. */
  readonly blocks: readonly GuestBlock[];
  /** Bytes of a target page. */
  readonly targetPageSize: number;
  /** True when the memory of ordinary pages is a memfd's, false when it is private. */
  readonly shared: boolean;
  /**
   * Where each block is mapped a second time, for pages in the memfd's page cache: that mapping is
   * never registered with a userfaultfd. Private memory has none, and its own address stands here.
   */
  readonly aliases: readonly number[];
}

/**
 * Maps memory for the blocks that a source announces; no page exists yet. Blocks of huge pages are
 * memfds of hugetlbfs, whatever the others are. Whoever gets the result owns the mappings: see
 * {@linkcode unmapBlocks}.
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
  checkPageSizes(sizes, targetPageSize);
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
  checkHugePages(layout);
  using stack = new DisposableStack();
  const memories = layout.blocks.map(({ name, usedLength, pageSize }) =>
    stack.use(
      backing === "memfd" || pageSize > targetPageSize
        ? MappedMemory.memfd(usedLength, name, { pageSize })
        : MappedMemory.anonymous(usedLength),
    )
  );
  const aliases = memories.map(({ fd, length }) =>
    fd < 0 ? undefined : stack.use(MappedMemory.alias(fd, length))
  );
  // Nobody asks for a huge page's neighbours of a page placed, which would be there as zeros.
  for (const memory of [...memories, ...aliases]) memory?.adviseSmallPages();
  const blocks = layout.blocks.map(({ name, usedLength, pageSize }, index) => {
    const { address, fd } = memories[index]!;
    return { name, address, length: usedLength, fd, pageSize };
  });
  for (const memory of [...memories, ...aliases]) memory?.release();
  return {
    blocks,
    targetPageSize,
    shared: backing === "memfd",
    aliases: aliases.map((alias, index) => alias?.address ?? memories[index]!.address),
  };
}

/** Unmaps the blocks; once only. */
export function unmapBlocks({ blocks, aliases }: MappedBlocks): void {
  blocks.forEach(({ address, length, fd }, index) => {
    MappedMemory.adopt(address, length, fd).close();
    const alias = aliases[index]!;
    if (alias !== address) MappedMemory.adopt(alias, length, -1).close();
  });
}

function checkPageSizes(sizes: readonly RamBlockSize[], targetPageSize: number): void {
  for (const { name, pageSize = targetPageSize } of sizes) {
    if (pageSize === targetPageSize) continue;
    if (pageSize <= LARGEST_HOST_PAGE && hugePages(pageSize) !== undefined) continue;
    throw new MigrationError(
      "UNSUPPORTED",
      `Host pages of this size are not supported here: RAM block ${name} has pages of ${pageSize}: start ` +
        "the source's guest with other pages",
    );
  }
}

function checkHugePages({ blocks }: RamLayout): void {
  // For all blocks at once: mapping them one by one would name the need of the first that fails.
  const needed = new Map<number, number>();
  for (const { pageSize, pagesPerHostPage, usedLength } of blocks) {
    if (pagesPerHostPage > 1) needed.set(pageSize, (needed.get(pageSize) ?? 0) + usedLength);
  }
  for (const [pageSize, length] of needed) {
    const available = hugePages(pageSize)?.available ?? 0;
    if (length <= available * pageSize) continue;
    throw new MigrationError(
      "TOO_LARGE",
      `This host cannot hold the guest's memory: ${hugePageRemedy(length, pageSize)}`,
    );
  }
}

/**
 * Takes the faults of all blocks of ordinary pages from now on. In shared memory a page may be in the
 * page cache though nobody received it (a huge page's neighbour, a touch through another mapping): it
 * is to fault too.
 *
 * @param uffd the userfaultfd, owned elsewhere
 * @throws {SyscallError} from the ioctl
 */
export function registerBlocks(uffd: number, mapped: MappedBlocks): void {
  const mode = RegisterMode.MISSING | (mapped.shared ? RegisterMode.MINOR : 0n);
  for (const { address, length, pageSize } of mapped.blocks) {
    if (pageSize === mapped.targetPageSize) registerRange(uffd, address, length, mode);
  }
}

/**
 * Takes the faults of the blocks of huge pages from now on. Only parts of them come before LISTEN,
 * which nothing but a plain write places.
 *
 * @param uffd the userfaultfd, owned elsewhere
 * @throws {SyscallError} from the ioctl
 */
export function registerHugeBlocks(uffd: number, mapped: MappedBlocks): void {
  const mode = RegisterMode.MISSING | RegisterMode.MINOR;
  for (const { address, length, pageSize } of mapped.blocks) {
    if (pageSize > mapped.targetPageSize) registerRange(uffd, address, length, mode);
  }
}

/**
 * Leaves the blocks to the kernel: a page that is missing reads as zero from now on.
 *
 * @param uffd the userfaultfd, owned elsewhere
 * @throws {SyscallError} from the ioctl
 */
export function unregisterBlocks(uffd: number, { blocks }: MappedBlocks): void {
  for (const { address, length } of blocks) unregisterRange(uffd, address, length);
}
