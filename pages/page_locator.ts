/** From a page's number to the address of its bytes: what a thread knows of an image, or of a live region. */

import { Errno, SyscallError } from "../ffi/errno.ts";
import type { Residency } from "../ffi/residency.ts";
import { MigrationError } from "../migration/migration_error.ts";
import { FlatLocator, type FlatPages } from "./flat_pages.ts";
import { LiveLocator, type LivePages } from "./live_pages.ts";
import { MappedRamLocator, type MappedRamPages } from "./mapped_ram_pages.ts";
import { FileWatch, type StoredFile, unreadable } from "./stored_file.ts";
import { TableLocator, type TablePages } from "./table_pages.ts";

/** Where pages are: plain data, for `postMessage`. Valid until the image or the region is closed. */
export type PageSource = TablePages | FlatPages | MappedRamPages | LivePages;

/**
 * Finds pages. Each task makes its own; finding allocates nothing.
 *
 * The addresses of an image are those of a mapping of the image file, and are for system calls alone: they
 * say EFAULT where the file was cut short or its disk fails, and to touch it there would end the process
 * (SIGBUS). {@linkcode PageLocator.copy} reads such a page without.
 */
export class PageLocator {
  // As long as a thread serves images of one kind, calls through this field are monomorphic and inlined.
  readonly #locator: TableLocator | FlatLocator | MappedRamLocator | LiveLocator;

  /** Whether pages lie in a file, and so may have to be read from a disk. */
  readonly stored: boolean;

  readonly #file: StoredFile | undefined;
  readonly #watch: FileWatch;

  /** @param pages where the pages are, from {@linkcode Image.pages} */
  constructor(pages: PageSource) {
    this.#locator = open(pages);
    this.stored = pages.kind !== "live";
    this.#file = fileOf(pages);
    this.#watch = new FileWatch(this.#file);
  }

  /**
   * Sees that the image's file is as it was when it was opened, in 0.5 us: to be asked before pages are
   * sent, and before it is said that they were all.
   *
   * @throws {MigrationError} `IMAGE_CHANGED`, or `IMAGE_UNREADABLE`
   */
  check(): void {
    this.#watch.check();
  }

  /**
   * Returns what is behind the failure of a task that sends pages, where that is a page that cannot be read:
   * a file that was cut short has changed.
   */
  reasonOf(error: unknown): unknown {
    if (this.#file === undefined) return error;
    const unsent = error instanceof SyscallError && error.errno === Errno.EFAULT;
    const unread = error instanceof MigrationError && error.code === "IMAGE_UNREADABLE";
    if (!unsent && !unread) return error;
    try {
      this.check();
    } catch (changed) {
      return changed;
    }
    return unsent ? unreadable(this.#file, "a page that was to be sent") : error;
  }

  /**
   * Returns the address of a page's bytes, or 0 when the page is zero (or was never in the stream).
   *
   * @param page a page number of the image's layout
   * @throws {MigrationError} `IMAGE_UNREADABLE`
   */
  locate(page: number): number {
    return this.#locator.locate(page);
  }

  /**
   * Copies a page.
   *
   * @param address from {@linkcode PageLocator.locate}, not 0
   * @param words where it goes
   * @param index of its first word there
   * @throws {MigrationError} `IMAGE_UNREADABLE`
   */
  copy(address: number, words: Int32Array, index: number): void {
    this.#locator.copy(address, words, index);
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

/**
 * Shared memory of the bitmap of pages that an image holds, by their numbers: the others are zero, because they
 * were never in it. Undefined when it holds all, or cannot tell.
 */
export function presentPages(pages: PageSource): SharedArrayBuffer | undefined {
  return pages.kind === "table" || pages.kind === "mapped-ram" ? pages.present : undefined;
}

/** The file that pages lie in; undefined for those of memory. */
export function fileOf(pages: PageSource): StoredFile | undefined {
  return pages.kind === "live" ? undefined : pages.file;
}
