/** The option --huge-pages: which RAM blocks lie in huge pages at the destination. */

import { HUGE_PAGE } from "../../ffi/huge_pages.ts";
import { withHugePages } from "../../image/huge_pages_image.ts";
import type { Image } from "../../image/image.ts";
import { UsageError } from "../../migration/command/arguments.ts";

/** Sizes by their names; a RAM block's own may hold the sign before them. */
const SIZES: Readonly<Record<string, number>> = { "2M": HUGE_PAGE, "1G": 2 ** 30 };

/** Sizes that huge pages may have, bytes. */
export const HUGE_PAGE_SIZES: readonly number[] = Object.values(SIZES);

/** The option, for `parseCommand`. */
export const HUGE_PAGES_OPTION = {
  "huge-pages": {
    value: "BLOCK[=SIZE],...",
    help: "RAM blocks that lie in huge pages at the destination: of 2M (default) or 1G",
  },
} as const;

/** Names of RAM blocks by the size of their pages, bytes. */
export type HugeBlocks = ReadonlyMap<number, readonly string[]>;

/**
 * Reads the option.
 *
 * @param text what stands after the flag, if it was given
 * @throws {UsageError} for a block without a name, or one that is named twice
 */
export function hugePagesArgument(text: string | undefined): HugeBlocks {
  const blocks = new Map<number, string[]>();
  const names = new Set<string>();
  for (const part of text?.split(",") ?? []) {
    const [, said, size] = /^(.*)=([^=]*)$/.exec(part) ?? [];
    const known = SIZES[size?.toUpperCase() ?? ""];
    const name = known === undefined ? part : said!;
    const pageSize = known ?? HUGE_PAGE;
    if (name === "" || names.has(name)) {
      const wrong = name === "" ? "No name of a RAM block" : "RAM block is named twice";
      throw new UsageError(`${wrong} after --huge-pages: ${text}: write for example pc.ram=1G`);
    }
    names.add(name);
    blocks.set(pageSize, [...blocks.get(pageSize) ?? [], name]);
  }
  return blocks;
}

/**
 * Returns the image as such a destination takes it.
 *
 * @param image an open image, which the result closes
 * @throws {ImageError} when it has no such block, or one that ends inside of a huge page
 */
export function withHugeBlocks(image: Image, blocks: HugeBlocks): Image {
  let result = image;
  for (const [pageSize, names] of blocks) result = withHugePages(result, names, pageSize);
  return result;
}
