/** Where the RAM blocks of a machine are in this process. */

import type { FlatRange, FlatView } from "./flat_view.ts";
import { GuestMemoryError, rangeText } from "./guest_memory_error.ts";
import type { GuestBlock } from "../memory/guest_block.ts";
import { lastAtOrBelow, RamTable } from "./ram_table.ts";

/** The mapped RAM blocks of a machine, found by the ranges of a flat view and by host address. */
export class RamAddresses {
  /** The blocks, as given. */
  readonly blocks: readonly GuestBlock[];
  readonly #indices: ReadonlyMap<string, number>;
  /** Indices of the blocks in the order of host addresses, and those addresses. */
  readonly #order: Int32Array;
  readonly #starts: Float64Array;
  /** By a view's ranges, which address spaces that show the same share. */
  readonly #tables = new WeakMap<readonly FlatRange[], RamTable>();

  /**
   * Makes the addresses of blocks.
   *
   * @param blocks the blocks; they must stay mapped for as long as this is used
   */
  constructor(blocks: readonly GuestBlock[]) {
    this.blocks = blocks;
    this.#indices = new Map(blocks.map(({ name }, index) => [name, index]));
    this.#order = Int32Array.from(blocks.keys())
      .sort((a, b) => blocks[a]!.address - blocks[b]!.address);
    this.#starts = Float64Array.from(this.#order, (index) => blocks[index]!.address);
  }

  /**
   * Returns the index of the block that a range of RAM is memory of.
   *
   * @param range of a RAM region
   * @throws {GuestMemoryError} `UNKNOWN_BLOCK`, or `PAST_BLOCK` when the range is not wholly in it
   */
  blockOf(range: FlatRange): number {
    const name = range.region.block ?? "";
    const index = this.#indices.get(name);
    if (index === undefined) {
      throw new GuestMemoryError(
        "UNKNOWN_BLOCK",
        range.start,
        `RAM ${rangeText(range)} is of a RAM block that is not mapped: ${name}: ` +
          `map it before the region is shown`,
      );
    }
    const { length } = this.blocks[index]!;
    const offset = this.offsetOf(range);
    if (range.length > length - offset) {
      throw new GuestMemoryError(
        "PAST_BLOCK",
        range.start,
        `RAM ${rangeText(range)} reaches past the ${length} bytes of RAM block ${name}: ` +
          `${range.length} bytes at ${offset}: map a larger block, or make the region smaller`,
      );
    }
    return index;
  }

  /** Returns where in its block a range of RAM begins, in bytes. */
  offsetOf(range: FlatRange): number {
    return range.region.blockOffset + range.offset;
  }

  /**
   * Returns the host address of a range of RAM.
   *
   * @throws {GuestMemoryError} as {@linkcode RamAddresses.blockOf}
   */
  hostAddress(range: FlatRange): number {
    return this.blocks[this.blockOf(range)]!.address + this.offsetOf(range);
  }

  /** Returns the index of the block that a host address is in, or -1. */
  blockAt(hostAddress: number): number {
    const place = lastAtOrBelow(this.#starts, hostAddress);
    if (place < 0) return -1;
    const index = this.#order[place]!;
    const { address, length } = this.blocks[index]!;
    return hostAddress - address < length ? index : -1;
  }

  /**
   * Returns the table of a view's RAM; ranges of it that are in no block are left out.
   *
   * @internal
   */
  tableOf(view: FlatView): RamTable {
    const { ranges } = view;
    let table = this.#tables.get(ranges);
    if (table === undefined) this.#tables.set(ranges, table = new RamTable(ranges, this));
    return table;
  }

  /** Reports whether all of a range of RAM is in a mapped block. */
  has(range: FlatRange): boolean {
    const index = this.#indices.get(range.region.block ?? "");
    return index !== undefined &&
      range.length <= this.blocks[index]!.length - this.offsetOf(range);
  }
}
