/** A guest's memory with page tables in it, made by hand. */

import { PAGE_BYTES } from "../../image/hot/guest_memory.ts";
import type { Paging } from "../../image/hot/paging.ts";

const PRESENT = 1n;
const LARGE = 1n << 7n;

/** Memory from physical address 0 on; what nobody wrote is zero. */
export class MadeMemory {
  /** Pages that were written, by number. */
  readonly pages = new Map<number, DataView>();
  /** Physical addresses of the pages that were read, in order. */
  readonly reads: number[] = [];
  readonly #size: number;
  #free: number;

  /**
   * @param pageCount its size
   * @param tables number of the page from which on tables are put into it
   */
  constructor(pageCount = 512, tables = 256) {
    this.#size = pageCount;
    this.#free = tables;
  }

  /** As `GuestMemory.read`. */
  read(address: number): DataView | undefined {
    const number = Math.floor(address / PAGE_BYTES);
    if (!(number >= 0 && number < this.#size)) return undefined;
    this.reads.push(number * PAGE_BYTES);
    return this.pages.get(number) ?? new DataView(new ArrayBuffer(PAGE_BYTES));
  }

  /** A page, to be written. */
  page(number: number): DataView {
    let page = this.pages.get(number);
    if (page === undefined) {
      this.pages.set(number, page = new DataView(new ArrayBuffer(PAGE_BYTES)));
    }
    return page;
  }

  /** Writes 64 bits, little-endian. */
  write(address: number, value: bigint): void {
    this.page(Math.floor(address / PAGE_BYTES)).setBigUint64(address % PAGE_BYTES, value, true);
  }

  /**
   * Maps a linear address, with tables of its own where there are none yet.
   *
   * @param size bytes of the page that it lies in
   * @returns physical addresses of the entries on the way
   */
  map({ levels, root }: Paging, linear: bigint, physical: number, size = PAGE_BYTES): number[] {
    const bits = levels === 2 ? 10 : 9;
    const entryBytes = levels === 2 ? 4 : 8;
    const entries: number[] = [];
    let table = root;
    for (let level = levels as number; level > 0; level--) {
      const shift = BigInt(12 + bits * (level - 1));
      const top = levels === 3 && level === 3 ? 2 : bits;
      const at = table + Number(BigInt.asUintN(top, linear >> shift)) * entryBytes;
      entries.push(at);
      const covers = 2 ** Number(shift);
      if (level === 1 || covers === size) {
        const base = BigInt(physical - physical % covers);
        this.#entry(at, entryBytes, base | PRESENT | (level > 1 ? LARGE : 0n));
        return entries;
      }
      const known = this.#read(at, entryBytes);
      table = Number(known & 0xf_ffff_ffff_f000n);
      if (known !== 0n) continue;
      table = this.#free++ * PAGE_BYTES;
      this.#entry(at, entryBytes, BigInt(table) | PRESENT);
    }
    return entries;
  }

  #read(at: number, bytes: number): bigint {
    const page = this.page(Math.floor(at / PAGE_BYTES));
    const offset = at % PAGE_BYTES;
    return bytes === 8 ? page.getBigUint64(offset, true) : BigInt(page.getUint32(offset, true));
  }

  #entry(at: number, bytes: number, value: bigint): void {
    const page = this.page(Math.floor(at / PAGE_BYTES));
    const offset = at % PAGE_BYTES;
    if (bytes === 8) page.setBigUint64(offset, value, true);
    else page.setUint32(offset, Number(value), true);
  }
}
