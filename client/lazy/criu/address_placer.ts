/** Placing pages at addresses of a process that moves and unmaps its memory meanwhile. */

import { Errno, SyscallError } from "../../../ffi/errno.ts";
import type { FaultReader } from "../../../ffi/fault_reader.ts";
import { PagePlacer, Placement } from "../../../ffi/page_placer.ts";
import { BASE_PAGE } from "../region.ts";
import type { IsMapped } from "./address_map.ts";
import { Attempt } from "../region_placer.ts";

/** Hooks of tests, which force an order of events. */
export interface AddressHooks {
  /** Called when it is decided what an address is to hold, before it is placed. */
  readonly beforePlacing?: (address: number) => void;
  /** Called when messages were read, and children held, before anything else is done about them. */
  readonly afterRead?: (reader: FaultReader, count: number) => void;
  /** Entries behind which the record of a tree that is held is written anew. */
  readonly renewAt?: number;
}

/** A page that a process may map at all, and hardly any does: vm.mmap_min_addr. */
const UNUSED_ADDRESS = 0x10000;
/** Where the addresses of a process may end, the largest first: x86-64 and aarch64, by the levels of their tables. */
const ADDRESS_ENDS = [2 ** 48, 2 ** 47 - BASE_PAGE, 2 ** 42, 2 ** 39];

/** Places pages by the userfaultfd of a process, on the one thread that also reads its events. */
export class AddressPlacer {
  readonly #placer: PagePlacer;
  readonly #hooks: AddressHooks;
  #pages = 0;
  #wasPresent = false;

  /** @param fd the userfaultfd, owned elsewhere */
  constructor(fd: number, hooks: AddressHooks = {}) {
    this.#placer = new PagePlacer(fd);
    this.#hooks = hooks;
  }

  /** After `DONE` or `UNMAPPED`: pages that this is true of, from the first on. */
  get pages(): number {
    return this.#pages;
  }

  /** After `DONE`: whether the first page was there already; then whoever waits for it was woken. */
  get wasPresent(): boolean {
    return this.#wasPresent;
  }

  /**
   * Copies pages to where they belong.
   *
   * @param from address of their bytes, which may lie anywhere
   * @throws {SyscallError} `EFAULT` for a page that cannot be read, `ENOMEM`
   */
  copy(address: number, from: number, count: number): Attempt {
    this.#hooks.beforePlacing?.(address);
    const placement = this.#placer.copy(address, from, count * BASE_PAGE);
    if (!this.#isUnmapped(placement)) return this.#outcome(placement, address, count);
    // Where the range of the process's map ends within the batch, a page of it may be mapped.
    if (count > 1) return this.copy(address, from, 1);
    return this.#outcome(this.#placer.copy(address, from, BASE_PAGE), address, 1);
  }

  /** Has an address read as zeros. */
  zero(address: number): Attempt {
    this.#hooks.beforePlacing?.(address);
    const placement = this.#placer.zero(address, BASE_PAGE);
    if (!this.#isUnmapped(placement)) return this.#outcome(placement, address, 1);
    return this.#outcome(this.#placer.zero(address, BASE_PAGE), address, 1);
  }

  /**
   * Marks pages so that whoever touches one gets SIGBUS.
   *
   * @throws {SyscallError} where the kernel has no such mark (before Linux 6.6)
   */
  poison(address: number, count = 1): Attempt {
    return this.#outcome(this.#placer.poison(address, count * BASE_PAGE), address, count);
  }

  /** Has all who wait for a page anywhere ask again. */
  wakeAll(): void {
    for (const end of ADDRESS_ENDS) {
      try {
        return this.#placer.wake(UNUSED_ADDRESS, end - UNUSED_ADDRESS);
      } catch (error) {
        if (!(error instanceof SyscallError) || error.errno !== Errno.EINVAL) throw error;
      }
    }
  }

  /**
   * Reports whether all of a range is in one range of the process's map, and registered: what its pages hold,
   * or whether they are there, does not matter.
   *
   * @returns undefined as long as messages are on their way
   */
  readonly isMapped: IsMapped = (address, count) => {
    try {
      // From where nothing can be copied: whatever is found out before that is found out.
      const placement = this.#placer.copy(address, 0, count * BASE_PAGE);
      if (placement === Placement.RETRY) return undefined;
      if (!this.#isUnmapped(placement)) return false; // the process is gone
      // See isUnmapped.
      return this.#placer.copy(address, 0, count * BASE_PAGE) === Placement.RETRY
        ? undefined
        : false;
    } catch (error) {
      if (error instanceof SyscallError && error.errno === Errno.EFAULT) return true;
      throw error;
    }
  };

  /** Reports whether no message is on its way. */
  isQuiet(): boolean {
    return this.isMapped(UNUSED_ADDRESS, 1) !== undefined;
  }

  /** Reports whether the process still has its memory. */
  isAlive(): boolean {
    try {
      // Nothing is registered so low: a process that is there says ENOENT, one that is not ESRCH.
      const placement = this.#placer.zero(UNUSED_ADDRESS, BASE_PAGE);
      return placement !== Placement.GONE || !this.#placer.processGone;
    } catch {
      return true; // the kernel reserves more than usual there, and does not look further
    }
  }

  /**
   * Nothing is mapped there, says the kernel (ENOENT): it looks for that before it sees that the map is
   * changing, so the page may have moved, and the message of that not been read. Then it says so when it is
   * asked once more (EAGAIN), because a change counts as going on until its message is read. What is not
   * mapped at the second time is gone.
   */
  #isUnmapped(placement: Placement): boolean {
    return placement === Placement.GONE && !this.#placer.processGone;
  }

  #outcome(placement: Placement, address: number, count: number): Attempt {
    this.#wasPresent = false;
    switch (placement) {
      case Placement.PLACED:
        this.#pages = count;
        return Attempt.DONE;
      case Placement.PRESENT:
        // A thread may have come to wait between two looks of the kernel at its page.
        this.#placer.wake(address, BASE_PAGE);
        this.#wasPresent = true;
        this.#pages = 1;
        return Attempt.DONE;
      case Placement.RETRY:
        this.#pages = this.#placer.placedBytes / BASE_PAGE;
        return this.#pages > 0 ? Attempt.DONE : Attempt.LATER;
      case Placement.GONE:
        this.#pages = 1;
        if (this.#placer.processGone) return Attempt.GONE;
        // Whoever touched it before it was unmapped waits still, and the kernel wakes nobody.
        this.#placer.wake(address, BASE_PAGE);
        return Attempt.UNMAPPED;
    }
  }
}
