/** Which pages a destination has asked for so far, as a set. */

import { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { RamLayout } from "../../migration/memory/ram_layout.ts";
import type { RequestLog } from "./request_log.ts";

/** Made from what a {@linkcode RequestLog} notes, of which it reads each page once. */
export class AskedPages {
  readonly #layout: RamLayout;
  readonly #log: RequestLog;
  readonly #pages: PageBitmap;
  #read = 0;

  /** @param log of the layout's pages, to which a thread may be adding */
  constructor(layout: RamLayout, log: RequestLog) {
    this.#layout = layout;
    this.#log = log;
    this.#pages = new PageBitmap(layout.pageLimit);
  }

  /** The bits of all target pages that were asked for until now; stays this object's. */
  get pages(): PageBitmap {
    const layout = this.#layout;
    const { count } = this.#log;
    for (; this.#read < count; this.#read++) {
      const page = this.#log.at(this.#read);
      if (layout.hasHugePages) this.#pages.fill(page, layout.blockOf(page).pagesPerHostPage);
      else this.#pages.add(page);
    }
    return this.#pages;
  }
}
