/** From a page's number to the address of its bytes: what a thread knows of an image, or of a live region. */

import type { Residency } from "../ffi/residency.ts";
import { FlatLocator, type FlatPages } from "./flat_pages.ts";
import { LiveLocator, type LivePages } from "./live_pages.ts";
import { MappedRamLocator, type MappedRamPages } from "./mapped_ram_pages.ts";
import { TableLocator, type TablePages } from "./table_pages.ts";

/** Where pages are: plain data, for `postMessage`. Valid until the image or the region is closed. */
export type PageSource = TablePages | FlatPages | MappedRamPages | LivePages;

/**
 * Finds pages. Each task makes its own; finding allocates nothing.
 *
 * The addresses of an image are those of a mapping of the image file: reading one fails (SIGBUS) if the file was
 * cut short after it was opened.
 */
export class PageLocator {
  // As long as a thread serves images of one kind, calls through this field are monomorphic and inlined.
  readonly #locator: TableLocator | FlatLocator | MappedRamLocator | LiveLocator;

  /** Whether pages lie in a file, and so may have to be read from a disk. */
  readonly stored: boolean;

  /** @param pages where the pages are, from {@linkcode Image.pages} */
  constructor(pages: PageSource) {
    this.#locator = open(pages);
    this.stored = pages.kind !== "live";
  }

  /**
   * Returns the address of a page's bytes, or 0 when the page is zero (or was never in the stream).
   *
   * @param page a page number of the image's layout
   */
  locate(page: number): number {
    return this.#locator.locate(page);
  }

  /**
   * Adds the memory that is read when a page is located and sent, and is none when the page is known to be
   * zero without. Reads none of it.
   *
   * @param page a page number of the image's layout
   * @param memory which must have room for two ranges
   */
  list(page: number, memory: Residency): void {
    this.#locator.list(page, memory);
  }
}

function open(pages: PageSource): TableLocator | FlatLocator | MappedRamLocator | LiveLocator {
  switch (pages.kind) {
    case "table":
      return new TableLocator(pages);
    case "flat":
      return new FlatLocator(pages);
    case "mapped-ram":
      return new MappedRamLocator(pages);
    case "live":
      return new LiveLocator(pages);
  }
}
