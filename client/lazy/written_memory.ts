/** What a process has written to since its memory was placed, where it registered that for write protection. */

import { SyscallError } from "../../ffi/errno.ts";
import { ForeignWrittenPages } from "../../ffi/pagemap.ts";
import type { PeerProcess } from "../../ffi/peer_process.ts";
import { PollEvents, PollSet } from "../../ffi/poll.ts";
import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import { BASE_PAGE, type Region } from "./region.ts";

/**
 * Pages that a process has changed. Bit 0 of byte 0 is the first page of 4 KiB of the memory file; a page is
 * dirty when it was written to (of a huge page, when any of it was), or removed, which makes it zero.
 */
export interface DirtyPages {
  /** The process. */
  readonly pid: number;
  /** A bit for each page of the memory file. */
  readonly bitmap: Uint8Array<ArrayBuffer>;
  /** How many are dirty. */
  readonly pages: number;
}

/** Bits of pages by where they lie in the memory file. */
export class DirtyBitmap {
  readonly bytes: Uint8Array<ArrayBuffer>;

  /** @param length bytes of the memory file */
  constructor(length: number) {
    this.bytes = new Uint8Array(Math.ceil(length / BASE_PAGE / 8));
  }

  /** Marks bytes of the memory, on the grid of its pages. */
  mark(offset: number, length: number): void {
    const end = (offset + length) / BASE_PAGE;
    for (let page = offset / BASE_PAGE; page < end; page++) {
      this.bytes[page >>> 3]! |= 1 << (page & 7);
    }
  }

  /** How many are marked. */
  count(): number {
    let count = 0;
    for (let byte of this.bytes) for (; byte !== 0; byte &= byte - 1) count++;
    return count;
  }
}

/** The memory of one process, as its pagemap shows it. */
export class WrittenMemory implements Disposable {
  readonly #pages: ForeignWrittenPages;
  readonly #regions: readonly Region[];

  private constructor(pages: ForeignWrittenPages, regions: readonly Region[]) {
    this.#pages = pages;
    this.#regions = regions;
  }

  /**
   * Opens the pagemap of a process.
   *
   * @returns why it cannot be told what the process writes, as the end of a sentence about that
   */
  static open(
    { pid, pidfd }: PeerProcess,
    regions: readonly Region[],
  ): WrittenMemory | string {
    if (pid <= 0) return "it is out of sight (another PID namespace)";
    using stack = new DisposableStack();
    try {
      const pages = stack.use(new ForeignWrittenPages(pid));
      if (hasEnded(pidfd)) return "it has ended"; // and its number may be another's
      const memory = new WrittenMemory(pages, regions);
      memory.mark(new DirtyBitmap(0)); // or finds that a part is not registered
      stack.move();
      return memory;
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      return REASONS[error.code] ?? error.message;
    }
  }

  /**
   * Marks what was written to.
   *
   * @throws {SyscallError} when the process is gone
   */
  mark(bitmap: DirtyBitmap): void {
    const pages = this.#pages;
    for (const { address, length, offset } of this.#regions) {
      const end = address + length;
      for (let at = address; at < end; at = pages.scannedTo) {
        const found = pages.scan(at, end);
        for (let index = 0; index < found; index++) {
          const start = pages.regionStart(index);
          bitmap.mark(offset + start - address, pages.regionEnd(index) - start);
        }
      }
    }
  }

  [Symbol.dispose](): void {
    this.#pages.close();
  }
}

/** Marks what was removed, by the record's bitmap. */
export function markRemoved(
  bitmap: DirtyBitmap,
  removed: PageBitmap,
  regions: readonly Region[],
): void {
  let first = 0;
  for (const { length, offset } of regions) {
    const end = first + length / BASE_PAGE;
    for (let page = removed.next(first, end); page >= 0; page = removed.next(page + 1, end)) {
      bitmap.mark(offset + (page - first) * BASE_PAGE, BASE_PAGE);
    }
    first = end;
  }
}

function hasEnded(pidfd: number): boolean {
  if (pidfd < 0) return false;
  const set = new PollSet(1);
  set.watch(0, pidfd, PollEvents.IN);
  return set.wait(0) > 0;
}

const NOT_REGISTERED = "its memory is not registered for asynchronous write protection " +
  "(UFFDIO_REGISTER_MODE_WP with UFFD_FEATURE_WP_ASYNC)";

const REASONS: Readonly<Record<string, string>> = {
  EPERM: NOT_REGISTERED,
  EACCES: "its pagemap cannot be opened: it takes the rights of a debugger of it",
  ENOENT: "it has ended",
  ENOTTY: "it takes Linux 6.7 or later",
};
