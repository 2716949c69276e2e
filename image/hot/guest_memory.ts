/** A PC's memory as its guest sees it: physical addresses, and what an image holds there. */

import { MigrationError } from "../../migration/migration_error.ts";
import { PageLocator } from "../../pages/page_locator.ts";
import type { RamBlock } from "../../migration/memory/ram_layout.ts";
import type { Image } from "../image.ts";

/** Bytes of the pages that an x86's tables name, and of a target page of every PC. */
export const PAGE_BYTES = 4096;

const FOUR_GIB = 2 ** 32;
/** The name that QEMU gives a PC's memory, unless its user does. */
const PC_MEMORY = "pc.ram";

/** What is needed of an image. */
export type MemoryImage = Pick<Image, "machine" | "layout" | "pages">;

/** Reads a guest's memory by physical addresses, a page of it once. */
export class GuestMemory {
  readonly #block: RamBlock;
  /** Bytes below 4 GiB; what is over lies from there on. */
  readonly #below: number;
  readonly #locator: PageLocator;
  readonly #most: number;
  #until = Infinity;
  readonly #read = new Map<number, DataView | undefined>();

  private constructor(image: MemoryImage, block: RamBlock, below: number, most: number) {
    this.#block = block;
    this.#below = below;
    this.#locator = new PageLocator(image.pages);
    this.#most = most;
  }

  /**
   * Finds the memory of an image.
   *
   * @param most pages that are read of it
   * @returns undefined when it is no PC's, or nobody knows which of its blocks is the memory
   */
  static of(image: MemoryImage, most: number): GuestMemory | undefined {
    const { machine, layout } = image;
    const block = layout.find(PC_MEMORY) ?? largest(layout.blocks);
    if (block === undefined || layout.targetPageSize !== PAGE_BYTES) return undefined;
    const below = bytesBelow(machine, block.usedLength);
    return below === undefined ? undefined : new GuestMemory(image, block, below, most);
  }

  /** From this time on (milliseconds of `performance.now`) nothing is read any more. */
  endAt(time: number): void {
    this.#until = time;
  }

  /** Whether nothing is read any more. */
  get spent(): boolean {
    return this.#read.size >= this.#most || performance.now() >= this.#until;
  }

  /** The page of the image at a physical address; -1 where no memory is. */
  pageAt(address: number): number {
    const { firstPage, usedLength } = this.#block;
    let offset = address;
    if (address >= FOUR_GIB) offset = address - FOUR_GIB + this.#below;
    else if (address >= this.#below) return -1;
    // Also no number at all.
    if (!(offset >= 0 && offset < usedLength)) return -1;
    return firstPage + Math.floor(offset / PAGE_BYTES);
  }

  /**
   * The bytes of the page that a physical address lies in.
   *
   * @returns undefined where there is none, where it cannot be read, and when enough was read
   */
  read(address: number): DataView | undefined {
    const page = this.pageAt(address);
    if (page < 0) return undefined;
    const read = this.#read;
    if (read.has(page)) return read.get(page);
    if (this.spent) return undefined;
    const bytes = this.#copy(page);
    read.set(page, bytes);
    return bytes;
  }

  #copy(page: number): DataView | undefined {
    const words = new Int32Array(PAGE_BYTES / 4);
    try {
      const address = this.#locator.locate(page);
      if (address !== 0) this.#locator.copy(address, words, 0);
    } catch (error) {
      // It is said when the page is sent.
      if (error instanceof MigrationError) return undefined;
      throw error;
    }
    return new DataView(words.buffer);
  }
}

/** The one block that is larger than all others. */
function largest(blocks: readonly RamBlock[]): RamBlock | undefined {
  const [first, second] = blocks.toSorted((one, other) => other.usedLength - one.usedLength);
  return first?.usedLength === second?.usedLength ? undefined : first;
}

/**
 * Bytes of a PC's memory that lie below 4 GiB, where devices take the rest. Other machines have other maps, and
 * with the property `max-ram-below-4g` so has a PC, which no stream tells.
 *
 * @param size bytes of memory
 * @returns undefined for another machine
 */
function bytesBelow(machine: string, size: number): number | undefined {
  const split = /^pc-q35/.test(machine)
    ? size >= 0xb000_0000 ? 0x8000_0000 : 0xb000_0000
    : /^pc-/.test(machine)
    ? size >= 0xe000_0000 ? 0xc000_0000 : 0xe000_0000
    : machine === "microvm"
    ? 0xc000_0000
    : undefined;
  return split === undefined ? undefined : Math.min(size, split);
}
