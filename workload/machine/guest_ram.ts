/** The memory behind a machine's RAM regions. */

import { viewMemory } from "../../ffi/memory.ts";
import type { FlatView } from "../../migration/address_space/flat_view.ts";
import type { GuestBlock } from "../../migration/memory/guest_block.ts";
import { MachineError } from "./machine_error.ts";

/** Bytes of a RAM block that guest addresses stand for. */
export interface RamSlice {
  /** The block's name. */
  readonly block: string;
  /** Where in the block, in bytes. */
  readonly offset: number;
  /** The whole block. Multi-byte values in it are little-endian, as an x86 guest's are. */
  readonly data: DataView;
}

/** A machine's RAM blocks, by their names. They stay their owner's, who keeps them mapped meanwhile. */
export class GuestRam {
  readonly #blocks: ReadonlyMap<string, DataView>;

  /** @param blocks bytes by block name */
  constructor(blocks: ReadonlyMap<string, Uint8Array<ArrayBuffer>>) {
    const views = [...blocks].map(([name, { buffer, byteOffset, byteLength }]) =>
      [name, new DataView(buffer, byteOffset, byteLength)] as const
    );
    this.#blocks = new Map(views);
  }

  /** Returns the RAM of blocks mapped in this process. */
  static mapped(blocks: readonly GuestBlock[]): GuestRam {
    return new GuestRam(
      new Map(blocks.map(({ name, address, length }) => [name, viewMemory(address, length)])),
    );
  }

  /** Bytes of a block; undefined when there is none of that name. */
  lengthOf(block: string): number | undefined {
    return this.#blocks.get(block)?.byteLength;
  }

  /**
   * Finds guest memory.
   *
   * @param view of the address space that the address is in
   * @param address guest address
   * @param length bytes
   * @param reader who asks
   * @returns undefined when not all of it is RAM, in one piece
   */
  find(view: FlatView, address: number, length: number, reader: string): RamSlice | undefined {
    const found = view.translate(address, length, reader);
    if (found === undefined || found.length < length) return undefined;
    const { region } = found;
    const { block } = region;
    const data = block === undefined ? undefined : this.#blocks.get(block);
    if (data === undefined) return undefined;
    return { block: block!, offset: region.blockOffset + found.offset, data };
  }

  /**
   * Finds guest memory that must be there.
   *
   * @throws {MachineError} `NO_MEMORY_THERE` when not all of it is RAM, in one piece
   */
  at(view: FlatView, address: number, length: number, reader: string): RamSlice {
    const slice = this.find(view, address, length, reader);
    if (slice !== undefined) return slice;
    throw new MachineError(
      "NO_MEMORY_THERE",
      `No RAM of ${length} bytes for ${reader} at guest address: 0x${address.toString(16)}: ` +
        `load the state together with the memory it was saved with`,
    );
  }
}
