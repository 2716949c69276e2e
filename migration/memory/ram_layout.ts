/** RAM blocks and the numbering of their pages. */

/** A RAM block as a migration knows it. */
export interface RamBlock {
  /** The name both ends know it by, for example `"pc.ram"`. */
  readonly name: string;
  /** Bytes that migrate, a multiple of the target page. */
  readonly usedLength: number;
  /** Bytes of a host page of this block at the destination: the target page, or more for hugetlbfs. */
  readonly pageSize: number;
  /** The global number of the block's first page. */
  readonly firstPage: number;
  /** Target pages in the block. */
  readonly pageCount: number;
  /** Target pages in a host page: 1, or 512 where it is 2 MiB. */
  readonly pagesPerHostPage: number;
}

/** What a {@linkcode RamLayout} is made from. */
export interface RamBlockSize {
  /** See {@linkcode RamBlock.name}. */
  readonly name: string;
  /** See {@linkcode RamBlock.usedLength}. */
  readonly usedLength: number;
  /** See {@linkcode RamBlock.pageSize}; default the target page. */
  readonly pageSize?: number | undefined;
}

/** A RAM block list that cannot be. */
export class RamLayoutError extends Error {
  /** The class's name. */
  override readonly name = "RamLayoutError";
  /** Machine-readable reason. */
  readonly code = "BAD_RAM_LAYOUT";
}

/**
 * All RAM blocks of a migration, their target pages numbered in one space. Each block starts at a
 * multiple of 32, so that a word of a {@linkcode PageBitmap} belongs to one block.
 */
export class RamLayout {
  /** The blocks, in the order of the stream. */
  readonly blocks: readonly RamBlock[];
  /** Bytes of a target page. */
  readonly targetPageSize: number;
  /** One more than the highest page number, a multiple of 32. */
  readonly pageLimit: number;
  /** Target pages of all blocks; less than `pageLimit`, which counts the gaps between blocks. */
  readonly pageCount: number;
  /** True when some block has host pages of more than one target page. */
  readonly hasHugePages: boolean;

  readonly #byName = new Map<string, RamBlock>();

  /**
   * Lays the blocks out.
   *
   * @param sizes the blocks
   * @param targetPageSize bytes of a target page
   * @throws {RamLayoutError} for a length that is no multiple of the page, a host page that is no
   * power of two of target pages, or a name that comes twice
   */
  constructor(sizes: readonly RamBlockSize[], targetPageSize = 4096) {
    const blocks: RamBlock[] = [];
    let next = 0;
    let count = 0;
    for (const { name, usedLength, pageSize = targetPageSize } of sizes) {
      const pagesPerHostPage = pageSize / targetPageSize;
      if (!Number.isInteger(Math.log2(pagesPerHostPage)) || pagesPerHostPage < 1) {
        throw new RamLayoutError(
          `Host page of RAM block ${name} is no power of two of pages of ${targetPageSize}: ${pageSize}`,
        );
      }
      if (
        !Number.isSafeInteger(usedLength) || usedLength <= 0 || usedLength % pageSize !== 0
      ) {
        throw new RamLayoutError(
          `Length of RAM block ${name} is no positive multiple of ${pageSize}: ${usedLength}`,
        );
      }
      if (this.#byName.has(name)) throw new RamLayoutError(`RAM block named twice: ${name}`);
      const pageCount = usedLength / targetPageSize;
      const block = {
        name,
        usedLength,
        pageSize,
        firstPage: next,
        pageCount,
        pagesPerHostPage,
      };
      blocks.push(block);
      this.#byName.set(name, block);
      next += Math.ceil(pageCount / 32) * 32;
      count += pageCount;
    }
    if (next >= 2 ** 31) {
      throw new RamLayoutError(`More than 2^31 pages of RAM, 8 TiB at 4 KiB: ${next}`);
    }
    this.blocks = blocks;
    this.targetPageSize = targetPageSize;
    this.pageLimit = next;
    this.pageCount = count;
    this.hasHugePages = blocks.some((block) => block.pagesPerHostPage > 1);
  }

  /** Returns the block of that name, if there is one. */
  find(name: string): RamBlock | undefined {
    return this.#byName.get(name);
  }

  /** Returns the block that a page number belongs to; the number must be below `pageLimit`. */
  blockOf(page: number): RamBlock {
    // Few blocks, and nearly all pages are in the largest: a scan beats a tree.
    const blocks = this.blocks;
    let index = blocks.length - 1;
    while (blocks[index]!.firstPage > page) index--;
    return blocks[index]!;
  }
}
