/** The memory slots of a KVM virtual machine: what its processors see of the RAM. */

import { Errno, SyscallError } from "../../ffi/errno.ts";
import type { KvmMachine } from "../../ffi/kvm.ts";
import { hostPageSize } from "../../ffi/memory.ts";
import type { FlatRange } from "../../migration/address_space/flat_view.ts";
import { GuestMemoryError, rangeText } from "../../migration/address_space/guest_memory_error.ts";
import type { MemoryListener } from "../../migration/address_space/memory_listener.ts";
import type { RamAddresses } from "../../migration/address_space/ram_addresses.ts";
import { throwErrors } from "../../migration/address_space/thrown.ts";

/** How {@linkcode KvmSlots} works. */
export interface KvmSlotsOptions {
  /** Most slots to use, numbers 0 to one less; default all that the machine has. */
  readonly limit?: number;
}

/** A memory slot in use. */
export interface KvmSlot {
  /** Its number. */
  readonly slot: number;
  /** Guest-physical address. */
  readonly address: number;
  /** Bytes. */
  readonly length: number;
}

/**
 * Keeps a memory slot for each range of RAM that an address space shows. Add it to the address space as
 * a listener; taken off again, it deletes its slots.
 *
 * A slot has whole host pages: a page of which a part is no RAM is left out, and the processor's
 * accesses to it leave the guest, as those to devices do. Slots that became free are used again, and a
 * commit deletes before it adds. Between the two a processor that runs finds RAM missing: stop the
 * processors, or let them try such an access again.
 */
export class KvmSlots implements MemoryListener {
  /** Most slots that it uses. */
  readonly limit: number;
  readonly #machine: KvmMachine;
  readonly #ram: RamAddresses;
  readonly #pageSize = hostPageSize();
  /** By the guest-physical address of the range. */
  readonly #slots = new Map<number, KvmSlot>();
  /** Ranges for which there was no slot, by the same. */
  readonly #waiting = new Map<number, FlatRange>();
  /** Numbers that were in use, the last freed on top; those from `#next` on never were. */
  readonly #free: number[] = [];
  #next = 0;

  /**
   * Makes the slots of a machine; none is set before it listens to an address space.
   *
   * @param machine the virtual machine, owned elsewhere
   * @param ram where the blocks are
   * @param options how it works
   */
  constructor(machine: KvmMachine, ram: RamAddresses, options: KvmSlotsOptions = {}) {
    this.limit = Math.min(options.limit ?? machine.slotLimit, machine.slotLimit);
    this.#machine = machine;
    this.#ram = ram;
  }

  /** The slots in use, in the order of addresses. */
  get slots(): readonly KvmSlot[] {
    return [...this.#slots.values()].sort((a, b) => a.address - b.address);
  }

  /**
   * Deletes a range's slot.
   *
   * @throws {GuestMemoryError} `SLOT_REFUSED`
   */
  regionDel(range: FlatRange): void {
    if (range.region.kind !== "ram") return;
    this.#waiting.delete(range.start);
    const used = this.#slots.get(range.start);
    if (used === undefined) return;
    try {
      this.#machine.deleteSlot(used.slot);
    } catch (error) {
      throw this.#refusal(range, used.slot, error);
    }
    this.#slots.delete(range.start);
    this.#free.push(used.slot);
  }

  /**
   * Gives a range a slot.
   *
   * @throws {GuestMemoryError} `NO_SLOT`: it gets one when one is free at the end of a later commit;
   * `MISALIGNED`, `SLOT_REFUSED`, or that it is in no block
   */
  regionAdd(range: FlatRange): void {
    if (range.region.kind !== "ram") return;
    const host = this.#ram.hostAddress(range);
    if (this.#hasFreeSlot) return this.#set(range, host);
    this.#waiting.set(range.start, range);
    throw new GuestMemoryError(
      "NO_SLOT",
      range.start,
      `No KVM memory slot is free for RAM ${rangeText(range)}, all are in use: ${this.limit}: ` +
        `KVM has ${this.#machine.slotLimit} (KVM_CAP_NR_MEMSLOTS): show RAM in fewer pieces`,
    );
  }

  /**
   * Gives slots that have become free to ranges that found none.
   *
   * @throws {GuestMemoryError} as {@linkcode KvmSlots.regionAdd}
   */
  commit(): void {
    if (this.#waiting.size === 0) return;
    const errors: unknown[] = [];
    for (const [start, range] of [...this.#waiting]) {
      if (!this.#hasFreeSlot) break;
      this.#waiting.delete(start);
      try {
        this.#set(range, this.#ram.hostAddress(range));
      } catch (error) {
        errors.push(error);
      }
    }
    throwErrors(errors, "KVM did not take several memory slots");
  }

  get #hasFreeSlot(): boolean {
    return this.#free.length > 0 || this.#next < this.limit;
  }

  #set(range: FlatRange, host: number): void {
    const pageSize = this.#pageSize;
    const first = Math.ceil(range.start / pageSize) * pageSize;
    const end = range.start + range.length;
    const length = end - end % pageSize - first;
    // Less than a page: there is none to be seen.
    if (length <= 0) return;
    const hostFirst = host + first - range.start;
    if (hostFirst % pageSize !== 0) {
      throw new GuestMemoryError(
        "MISALIGNED",
        range.start,
        `RAM ${rangeText(range)} cannot have a KVM memory slot: its pages begin ` +
          `${
            hostFirst % pageSize
          } bytes into pages of ${pageSize} of this host: place the region, and ` +
          `its part of the RAM block, at multiples of them`,
      );
    }
    const slot = this.#free.pop() ?? this.#next++;
    try {
      this.#machine.setSlot(slot, first, hostFirst, length);
    } catch (error) {
      this.#free.push(slot);
      throw this.#refusal(range, slot, error);
    }
    this.#slots.set(range.start, { slot, address: first, length });
  }

  #refusal(range: FlatRange, slot: number, cause: unknown): unknown {
    if (!(cause instanceof SyscallError)) return cause;
    const { errno } = cause;
    const remedy = errno === Errno.EEXIST
      ? ": delete the slot of somebody else that is there"
      : errno === Errno.EINVAL
      ? ": use addresses that this host's processors can give a guest, and slot numbers of nobody else"
      : "";
    return new GuestMemoryError(
      "SLOT_REFUSED",
      range.start,
      `KVM memory slot ${slot} for RAM ${rangeText(range)}: ${cause.message}${remedy}`,
      { cause },
    );
  }
}
