/** From a page's number to the address of its bytes: what a worker knows of an image. */

import { FlatLocator, type FlatPages } from "./flat_pages.ts";
import { TableLocator, type TablePages } from "./table_pages.ts";

/** Where an image's pages are: plain data, for `postMessage`. Valid until the image is closed. */
export type PageSource = TablePages | FlatPages;

/**
 * Finds an image's pages. Each worker makes its own; finding allocates nothing.
 *
 * The addresses are those of a mapping of the image file: reading one fails (SIGBUS) if the file was
 * cut short after it was opened.
 */
export class PageLocator {
  // A worker serves one image, so calls through this field stay monomorphic and are inlined.
  readonly #locator: TableLocator | FlatLocator;

  /** @param pages where the pages are, from {@linkcode Image.pages} */
  constructor(pages: PageSource) {
    this.#locator = pages.kind === "table" ? new TableLocator(pages) : new FlatLocator(pages);
  }

  /**
   * Returns the address of a page's bytes, or 0 when the page is zero (or was never in the stream).
   *
   * @param page a page number of the image's layout
   */
  locate(page: number): number {
    return this.#locator.locate(page);
  }
}
