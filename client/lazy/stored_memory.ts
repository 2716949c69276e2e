/** Whether pages of the image are at hand, or have to come from a disk first. */

import { Residency } from "../../ffi/residency.ts";
import { PresentWindows } from "./present_windows.ts";
import type { MemoryLocator } from "./memory_pages.ts";
import { BASE_PAGE } from "./region.ts";

/** Nanoseconds between two looks for a page that is on a disk, and after which it is read whatever that takes. */
const DISK_INTERVAL = 100e3;
const DISK_PATIENCE = 50e6;

/** Looks at pages of an image, and has the kernel read them ahead. Reads none itself. */
export class StoredMemory {
  readonly #locator: Pick<MemoryLocator, "list">;
  readonly #memory = new Residency();
  readonly #windows: PresentWindows | undefined;

  /**
   * @param locator where the pages are
   * @param length bytes of the memory, where pages of all of it can be listed; default 0, then each is asked for
   */
  constructor(locator: Pick<MemoryLocator, "list">, length = 0) {
    this.#locator = locator;
    const ask = (offset: number, length: number) => this.#isPresent(offset, length);
    if (length > 0) this.#windows = new PresentWindows(length, ask);
  }

  /** Nanoseconds after which to look again for what was not there; Infinity where the task is woken. */
  get interval(): number {
    return DISK_INTERVAL;
  }

  /** Nanoseconds after which it is placed although it never looks as if it were there: that shows what is wrong. */
  get patience(): number {
    return DISK_PATIENCE;
  }

  /**
   * Reports whether bytes of the memory can be placed without waiting for a disk; of a single page also when all
   * around it could within the last second.
   */
  has(offset: number, length: number): boolean {
    if (length === BASE_PAGE && this.#windows?.has(offset)) return true;
    return this.#isPresent(offset, length);
  }

  /** Has the kernel read bytes of the memory. */
  request(offset: number, length: number): void {
    this.#list(offset, length);
    this.#memory.request();
  }

  #isPresent(offset: number, length: number): boolean {
    this.#list(offset, length);
    return this.#memory.resident;
  }

  #list(offset: number, length: number): void {
    const memory = this.#memory;
    memory.clear();
    const end = offset + length;
    for (let at = offset; at < end && !memory.full; at += BASE_PAGE) this.#locator.list(at, memory);
  }
}
