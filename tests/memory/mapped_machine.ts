/** A machine with real memory behind its RAM regions. */

import "../support/native.ts";
import { type Backing, MappedMemory } from "../../ffi/memory.ts";
import { AddressSpace } from "../../migration/address_space/address_space.ts";
import { MemoryCore } from "../../migration/address_space/memory_core.ts";
import { MemoryRegion } from "../../migration/address_space/memory_region.ts";
import { RamAddresses } from "../../migration/address_space/ram_addresses.ts";

/** Bytes of a page. */
export const PAGE = 4096;

/** Block names to bytes. */
export type BlockSizes = Readonly<Record<string, number>>;

/** RAM blocks in mappings, and one address space. */
export class MappedMachine implements Disposable {
  readonly core: MemoryCore = new MemoryCore({ debug: true });
  readonly system: MemoryRegion = MemoryRegion.container(this.core, "system", 2 ** 40);
  readonly space: AddressSpace = new AddressSpace(this.core, "memory", this.system);
  readonly memories: readonly MappedMemory[];
  readonly ram: RamAddresses;
  readonly #stack = new DisposableStack();

  constructor(sizes: BlockSizes, backing: Backing = "anonymous") {
    this.memories = Object.entries(sizes).map(([name, length]) =>
      this.#stack.use(
        backing === "memfd" ? MappedMemory.memfd(length, name) : MappedMemory.anonymous(length),
      )
    );
    for (const memory of this.memories) memory.adviseSmallPages();
    this.ram = new RamAddresses(
      Object.entries(sizes).map(([name, length], index) => {
        const { address, fd } = this.memories[index]!;
        return { name, address, length, fd, pageSize: PAGE };
      }),
    );
  }

  /** Makes a RAM region; `offset` is where in the block. */
  region(block: string, size: number, offset = 0): MemoryRegion {
    return MemoryRegion.ram(this.core, block, size, { block, offset });
  }

  /** Makes an I/O region. */
  io(name: string, size: number): MemoryRegion {
    return MemoryRegion.io(this.core, name, size);
  }

  /** Makes an alias. */
  alias(name: string, target: MemoryRegion, offset: number, size: number): MemoryRegion {
    return MemoryRegion.alias(this.core, name, target, offset, size);
  }

  [Symbol.dispose](): void {
    this.space.close();
    this.#stack.dispose();
  }
}
