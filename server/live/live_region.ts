/** Memory of this process that a guest works on and that can move to another host while it does. */

import { hostPageSize, MappedMemory } from "../../ffi/memory.ts";
import type { GuestBlock } from "../../migration/memory/guest_block.ts";
import { RamLayout } from "../../migration/memory/ram_layout.ts";
import type { BlockEntry } from "../../migration/protocol/ram.ts";
import { RAM_SECTION } from "../../migration/protocol/constants.ts";
import type { StreamMachine } from "../../migration/protocol/stream_machine.ts";

/** What a live region is made from. */
export interface LiveRegionOptions {
  /**
   * RAM blocks: names that the destination finds them by, and bytes, multiples of the page size. A
   * block that has an address, such as one that a destination was given, is used where it lies and
   * stays its owner's.
   */
  readonly blocks: readonly (GuestBlock | { readonly name: string; readonly length: number })[];
  /** What the destination sees as machine type; default `"postcopy-live"`. */
  readonly machine?: string;
  /** Bytes of a host page: 4096, the default, or 2 MiB or 1 GiB for pages of hugetlbfs. */
  readonly pageSize?: number;
}

/** Section id of the memory; the guest's state has the next. */
const RAM_SECTION_ID = 1;

/** Section id of the guest's state. */
export const GUEST_SECTION_ID: number = RAM_SECTION_ID + 1;

/**
 * RAM blocks in memfds of this process. Any thread may use them by their addresses, at any time; what
 * is written through other mappings of the memfds, or by other processes, is not seen by a migration.
 *
 * @example
 * ```ts
 * import { LiveRegion } from "./live_region.ts";
 * import { viewMemory } from "../../ffi/memory.ts";
 *
 * using region = new LiveRegion({ blocks: [{ name: "heap", length: 1 << 20 }] });
 * const { address, length } = region.blocks[0]!; // plain data: post it to a worker
 * viewMemory(address, length)[0] = 1;
 * ```
 */
export class LiveRegion implements Disposable {
  /** Machine type that the destination sees. */
  readonly machine: string;
  /** Where the blocks lie: valid until the region is closed. */
  readonly blocks: readonly GuestBlock[];
  /** The blocks with their pages numbered. */
  readonly layout: RamLayout;
  readonly #memories: DisposableStack;

  /**
   * Maps the blocks; no page exists before it is touched, except those of hugetlbfs.
   *
   * @throws {RamLayoutError} for a length that is no multiple of the page, or a name that comes twice
   * @throws {SyscallError} when the memory is not to be had
   */
  constructor({ blocks, machine = "postcopy-live", pageSize = hostPageSize() }: LiveRegionOptions) {
    const sizes = blocks.map((block) => ({
      name: block.name,
      usedLength: block.length,
      pageSize: "address" in block ? block.pageSize : pageSize,
    }));
    this.layout = new RamLayout(sizes, hostPageSize());
    this.machine = machine;
    using stack = new DisposableStack();
    this.blocks = blocks.map((block) => {
      if ("address" in block) return block;
      const { name } = block;
      const { address, length, fd } = stack.use(
        MappedMemory.memfd(block.length, name, { pageSize }),
      );
      return { name, address, length, fd, pageSize };
    });
    this.#memories = stack.move();
  }

  /** Unmaps the memory: no thread may use it any more. Closing again does nothing. */
  close(): void {
    this.#memories.dispose();
  }

  /** Closes it. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/** What a stream says about a region. */
export function streamMachine({ machine, blocks, layout }: LiveRegion): StreamMachine {
  const { targetPageSize } = layout;
  return {
    configuration: { machine },
    targetPageSize,
    blocks: blocks.map(({ name, length, pageSize }): BlockEntry => ({
      name,
      usedLength: length,
      ...pageSize === targetPageSize ? {} : { pageSize },
    })),
    ramSection: { id: RAM_SECTION_ID, instance: 0, version: RAM_SECTION.VERSION },
  };
}
