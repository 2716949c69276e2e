/** From addresses to page numbers and back. */

import { RamLayout } from "../migration/memory/ram_layout.ts";
import type { MappedBlocks } from "./destination_memory.ts";

/** The mapped RAM blocks as one thread sees them. */
export class BlockMap {
  /** The blocks' page numbers. */
  readonly layout: RamLayout;
  readonly #addresses: number[];
  readonly #ends: number[];

  /** @param mapped where the blocks lie */
  constructor(mapped: MappedBlocks) {
    this.layout = new RamLayout(
      mapped.blocks.map(({ name, length }) => ({ name, usedLength: length })),
      mapped.targetPageSize,
    );
    this.#addresses = mapped.blocks.map((block) => block.address);
    this.#ends = mapped.blocks.map((block) => block.address + block.length);
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
}
