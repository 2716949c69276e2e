/** Memory as processors with the same page tables see it. */

import type { GuestMemory } from "./guest_memory.ts";
import { type Paging, translate } from "./paging.ts";

const PAGES_IN_4_GIB = 2 ** 20;

/** What is told of a page: a physical address in it. */
export type OnPage = (address: number) => void;

/** Finds pages by linear addresses, each once. */
export class LinearMemory {
  readonly #memory: GuestMemory;
  readonly #paging: Paging;
  readonly #found: OnPage;
  /** By linear page number, of which a double has all 52 bits: the physical address of the page, or -1. */
  readonly #pages = new Map<number, number>();

  /**
   * @param memory of the guest
   * @param paging the tables
   * @param found called with each page that is located, behind those of the tables on the way to it
   */
  constructor(memory: GuestMemory, paging: Paging, found: OnPage) {
    this.#memory = memory;
    this.#paging = paging;
    this.#found = found;
  }

  /**
   * Finds the page of an address, given by its two halves: most are looked for again and again, and a bigint takes
   * as long as all else.
   *
   * @returns false when there is none, or it was looked for long enough
   */
  touch(low: number, high: number): boolean {
    return this.#locate(low, high) >= 0;
  }

  /** The bytes of the page of an address; undefined when there is none, or it cannot be read. */
  read(low: number, high: number): DataView | undefined {
    const address = this.#locate(low, high);
    return address < 0 ? undefined : this.#memory.read(address);
  }

  #locate(low: number, high: number): number {
    const number = high * PAGES_IN_4_GIB + (low >>> 12);
    const known = this.#pages.get(number);
    if (known !== undefined) return known;
    if (this.#memory.spent) return -1;
    const linear = BigInt(number) << 12n;
    const address = translate(this.#memory, this.#paging, linear, this.#found);
    if (address >= 0) this.#found(address);
    this.#pages.set(number, address);
    return address;
  }
}
