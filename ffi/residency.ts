/** Whether memory is at hand or must be read from a disk first: mincore(2), madvise(2). */

import { libc } from "./libc.ts";
import { hostPageSize } from "./memory.ts";

// From include/uapi/asm-generic/mman-common.h; equal on x86-64 and aarch64.
const MADV_WILLNEED = 3;
/** Linux 5.14; older kernels refuse it. */
const MADV_POPULATE_READ = 22;

/** Host pages that one call is asked about: 4 MiB of 4 KiB. */
const MOST_PAGES = 1024;
const MOST_RANGES = 256;

/**
 * A list of ranges of mapped memory, and what the kernel knows of them. Made once and filled again:
 * ranges that adjoin or overlap become one, and one system call.
 *
 * Of a mapped file that this process neither owns nor may write the kernel (since Linux 5.2) says that all
 * of it is at hand, so as not to tell what others read. Then reading it waits for the disk.
 */
export class Residency {
  readonly #pageSize = hostPageSize();
  readonly #starts = new Float64Array(MOST_RANGES);
  readonly #ends = new Float64Array(MOST_RANGES);
  readonly #vector = new Uint8Array(MOST_PAGES);
  #count = 0;

  /** True when two more ranges may not fit. */
  get full(): boolean {
    return this.#count > MOST_RANGES - 2;
  }

  /** Forgets all ranges. */
  clear(): void {
    this.#count = 0;
  }

  /**
   * Adds a range; there must be room.
   *
   * @param address first byte, anywhere in a page
   * @param length bytes, much below 4 GiB
   */
  add(address: number, length: number): void {
    const below = this.#pageSize - 1;
    // A bit operation takes the low half of a number below 2^53, in which all that it needs is.
    const start = address - (address & below);
    const last = address + length - 1;
    const end = last - (last & below) + this.#pageSize;
    const before = this.#count - 1;
    if (
      before >= 0 && start >= this.#starts[before]! && start <= this.#ends[before]! &&
      end - this.#starts[before]! <= MOST_PAGES * this.#pageSize
    ) {
      if (end > this.#ends[before]!) this.#ends[before] = end;
      return;
    }
    this.#starts[this.#count] = start;
    this.#ends[this.#count] = end;
    this.#count++;
  }

  /**
   * Whether reading the ranges waits for no disk: all of them is mapped, or in the page cache. What the kernel
   * cannot tell counts as that: reading it shows what is wrong.
   *
   * One page takes 1.0 us where a system call takes 0.17; each more 2 ns if it is mapped, else 65.
   */
  get resident(): boolean {
    const vector = this.#vector;
    for (let index = 0; index < this.#count; index++) {
      const length = this.#ends[index]! - this.#starts[index]!;
      // As a bigint, although that makes one: a number passed as u64 takes 0.15 us more.
      if (libc().mincore(BigInt(this.#starts[index]!), length, vector) !== 0) continue;
      for (let page = 0; page < length / this.#pageSize; page++) {
        if ((vector[page]! & 1) === 0) return false;
      }
    }
    return true;
  }

  /** Has the kernel read the ranges ahead, as far as it likes. Waits for next to nothing. */
  request(): void {
    for (let index = 0; index < this.#count; index++) {
      const start = this.#starts[index]!;
      libc().madvise(BigInt(start), BigInt(this.#ends[index]! - start), MADV_WILLNEED);
    }
  }

  /**
   * Has another thread read the ranges, for as long as that takes: what came of it is seen by looking. If
   * they are unmapped meanwhile, it ends.
   */
  load(): void {
    for (let index = 0; index < this.#count; index++) {
      const start = this.#starts[index]!;
      const length = BigInt(this.#ends[index]! - start);
      libc().madviseAsync(BigInt(start), length, MADV_POPULATE_READ);
    }
  }
}
