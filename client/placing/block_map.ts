/** From addresses to page numbers and back. */

import { RamLayout } from "../../migration/memory/ram_layout.ts";
import type { MappedBlocks } from "./destination_memory.ts";

/** The mapped RAM blocks as one thread sees them. */
export class BlockMap {
  /** The blocks' page numbers. */
  readonly layout: RamLayout;
  readonly #addresses: number[];
  readonly #ends: number[];
  readonly #aliases: readonly number[];
  /** See {@linkcode MappedBlocks.shared}. */
  readonly shared: boolean;
  /** True when a page may be in the page cache of some block and not be mapped. */
  readonly hasMinorFaults: boolean;

  /** @param mapped where the blocks lie */
  constructor(mapped: MappedBlocks) {
    this.layout = new RamLayout(
      mapped.blocks.map(({ name, length, pageSize }) => ({ name, usedLength: length, pageSize })),
      mapped.targetPageSize,
    );
    this.#addresses = mapped.blocks.map((block) => block.address);
    this.#ends = mapped.blocks.map((block) => block.address + block.length);
    this.#aliases = mapped.aliases;
    this.shared = mapped.shared;
    this.hasMinorFaults = mapped.shared || this.layout.hasHugePages;
  }

  /** Index of the block that an address lies in, or -1. */
  blockAt(address: number): number {
    for (let index = 0; index < this.#addresses.length; index++) {
      if (address >= this.#addresses[index]! && address < this.#ends[index]!) return index;
    }
    return -1;
  }

  /** Address of a block's first byte. */
  addressOf(index: number): number {
    return this.#addresses[index]!;
  }

  /** Address of a block's first byte in the mapping that is read and written without a fault. */
  aliasOf(index: number): number {
    return this.#aliases[index]!;
  }
}
