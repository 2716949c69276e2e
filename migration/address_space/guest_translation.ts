/** From guest-physical addresses to the memory of this process, and back. */

import type { AddressSpace } from "./address_space.ts";
import { addressText, GuestMemoryError, rangeText } from "./guest_memory_error.ts";
import type { RamAddresses } from "./ram_addresses.ts";
import type { RamTable } from "./ram_table.ts";
import type { FlatView } from "./flat_view.ts";

/**
 * Translates the addresses of an address space for device models, and those of faults back. A lookup
 * inside of a memory transaction commits what is pending first, as `AddressSpace.flatView()` does: it
 * never answers from a view that is out of date. Lookups make no object; the first one in a new view
 * makes its table, which address spaces that show the same share.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { AddressSpace } from "./address_space.ts";
 * import { GuestTranslation } from "./guest_translation.ts";
 * import { MemoryCore } from "./memory_core.ts";
 * import { MemoryRegion } from "./memory_region.ts";
 * import { RamAddresses } from "./ram_addresses.ts";
 *
 * const core = new MemoryCore();
 * const system = MemoryRegion.container(core, "system", 2 ** 40);
 * const memory = new AddressSpace(core, "memory", system);
 * // As `Guest` and `Destination` describe their blocks; nothing is touched here.
 * const ram = new RamAddresses([
 *   { name: "pc.ram", address: 0x7f00_0000_0000, length: 2 ** 30, fd: -1, pageSize: 4096 },
 * ]);
 * using translation = new GuestTranslation(memory, ram);
 * system.add(MemoryRegion.ram(core, "ram", 2 ** 30, { block: "pc.ram" }), 2 ** 32);
 * assertEquals(translation.hostAddress(2 ** 32 + 16), 0x7f00_0000_0010);
 * assertEquals(translation.guestAddress(0x7f00_0000_0010), 2 ** 32 + 16);
 * assertEquals(translation.hostAddress(16), -1);
 * ```
 */
export class GuestTranslation implements Disposable {
  /** Where the blocks are. */
  readonly ram: RamAddresses;
  readonly #space: AddressSpace;
  readonly #remove: () => void;
  #view: FlatView | undefined;
  #table: RamTable | undefined;

  /**
   * Makes a translation, which follows the changes of the address space.
   *
   * @param space the address space
   * @param ram where its blocks are
   * @throws {GuestMemoryError} when it shows RAM that is in no block; a later change that brings such
   * RAM throws it in its commit, and the RAM is not found
   */
  constructor(space: AddressSpace, ram: RamAddresses) {
    this.ram = ram;
    this.#space = space;
    // Checked in the commit that shows it, and not where a lookup comes upon it. The table is made by
    // lookups: other listeners of the same commit may look up before this one would be told.
    this.#remove = space.addListener({
      regionAdd: (range) => {
        if (range.region.kind === "ram") ram.blockOf(range);
      },
    });
  }

  /** Returns the host address of a byte of RAM, or -1 when no RAM is at that guest-physical address. */
  hostAddress(address: number): number {
    const table = this.#current();
    const index = table.find(address);
    return index < 0 ? -1 : table.hostAddress(index, address);
  }

  /**
   * Returns how many bytes from a guest-physical address on lie side by side in this process; 0 when
   * no RAM is there.
   */
  contiguous(address: number): number {
    const table = this.#current();
    const index = table.find(address);
    return index < 0 ? 0 : table.remaining(index, address);
  }

  /**
   * Returns the host address of bytes that are wanted as one piece, such as a queue's ring.
   *
   * @param address guest-physical
   * @param length bytes, at least 1
   * @throws {GuestMemoryError} `NOT_RAM` when the first byte is not in RAM; `CROSSES_RANGES` when they
   * do not lie in one range of it
   */
  hostRange(address: number, length: number): number {
    const table = this.#current();
    const index = table.find(address);
    if (index < 0) throw this.#notRam(address);
    if (length > table.remaining(index, address)) {
      throw this.#crosses(table, index, address, length);
    }
    return table.hostAddress(index, address);
  }

  /** Returns the index of the RAM block that is at a guest-physical address, or -1. */
  blockIndex(address: number): number {
    const table = this.#current();
    const index = table.find(address);
    return index < 0 ? -1 : table.block(index);
  }

  /** Returns the offset in its RAM block of what is at a guest-physical address, or -1. */
  blockOffset(address: number): number {
    const table = this.#current();
    const index = table.find(address);
    if (index < 0) return -1;
    return table.hostAddress(index, address) - this.ram.blocks[table.block(index)]!.address;
  }

  /**
   * Returns the guest-physical address of a byte of this process, such as that of a fault: the lowest
   * one when several show it, or -1 when none does. Its block is `ram.blockAt(hostAddress)`.
   */
  guestAddress(hostAddress: number): number {
    return this.#current().guestAddress(hostAddress);
  }

  /** Stops checking what comes into the address space. May be called twice. */
  close(): void {
    this.#remove();
  }

  /** Closes it. */
  [Symbol.dispose](): void {
    this.close();
  }

  #current(): RamTable {
    const view = this.#space.flatView();
    if (view !== this.#view || this.#table === undefined) {
      this.#table = this.ram.tableOf(view);
      this.#view = view;
    }
    return this.#table;
  }

  #notRam(address: number): GuestMemoryError {
    const range = this.#space.flatView().find(address);
    const what = range === undefined ? "nothing is there" : `${rangeText(range)} is there`;
    return new GuestMemoryError(
      "NOT_RAM",
      address,
      `No RAM at ${addressText(address)} of address space ${this.#space.name}: ${what}`,
    );
  }

  #crosses(table: RamTable, index: number, address: number, length: number): GuestMemoryError {
    const view = this.#space.flatView();
    const end = address + table.remaining(index, address);
    const last = view.find(end - 1)!;
    const next = view.find(end);
    const what = next === undefined ? "nothing" : rangeText(next);
    return new GuestMemoryError(
      "CROSSES_RANGES",
      address,
      `Guest memory of ${length} bytes at ${addressText(address)} crosses from ` +
        `${rangeText(last)} to ${what} at ${addressText(end)}: take it in pieces`,
    );
  }
}
