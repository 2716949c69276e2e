/** /proc/PID/pagemap: which pages of a write-protected range were written to. */

import { cString, errno, libc } from "./libc.ts";
import { Errno, SyscallError } from "./errno.ts";
import { MappedMemory } from "./memory.ts";
import { readPair, writePair } from "./word_pairs.ts";
import { OpenFlag } from "./open_flags.ts";

// From include/uapi/linux/fs.h of Linux 6.7; equal on x86-64 and aarch64.
const PAGEMAP_SCAN = 0xc060_6610;
const PM_SCAN_WP_MATCHING = 1;
const PM_SCAN_CHECK_WPASYNC = 2;
const PAGE_IS_WRITTEN = 2;
const PAGE_IS_PRESENT = 8;
const PAGE_IS_SWAPPED = 16;

/** `sizeof(struct pm_scan_arg)`: twelve 64-bit fields. */
const ARGUMENT_BYTES = 96;
// Fields of struct pm_scan_arg, by the number of their low word.
const SIZE = 0;
const FLAGS = 2;
const START = 4;
const END = 6;
const WALK_END = 8;
const VECTOR = 10;
const VECTOR_LENGTH = 12;
const CATEGORY_MASK = 18;
const ANY_OF_MASK = 20;
const RETURN_MASK = 22;

/** `sizeof(struct page_region)`: start, end and categories, 64 bits each. */
const REGION_BYTES = 24;
const REGION_WORDS = REGION_BYTES / 4;

/** Regions taken by one call unless told, 96 KiB: more make a scan no faster, an eighth 15 % slower. */
const REGIONS = 4096;

/** What a scan does, and returns. */
interface ScanKind {
  readonly path: string;
  readonly flags: number;
  /** Categories of which a written page must have one; 0: none. */
  readonly anyOf: number;
  /** Most regions that one scan returns. */
  readonly capacity: number;
}

/**
 * Finds pages that were written to since they were protected. The memory must be registered with a
 * userfaultfd of the feature `WP_ASYNC`. May be made and used in any thread, one at a time.
 *
 * A scan stops early when its regions are full; the caller goes on where it stopped:
 *
 * ```ts ignore
 * for (let at = start; at < end; at = pages.scannedTo) {
 *   const regions = pages.scan(at, end);
 *   for (let region = 0; region < regions; region++) {
 *     use(pages.regionStart(region), pages.regionEnd(region));
 *   }
 * }
 * ```
 */
class PagemapScan implements Disposable {
  #fd: number;
  // The kernel writes regions to an address that outlasts each call: native memory, not a buffer that
  // the collector may move on.
  readonly #vector: MappedMemory;
  readonly #regions: Uint32Array;
  readonly #argument = new Uint8Array(ARGUMENT_BYTES);
  readonly #words = new Uint32Array(this.#argument.buffer);

  /** Opens the pagemap through libc: Deno asks for all permissions before it opens anything below /proc. */
  constructor({ path, flags, anyOf, capacity }: ScanKind) {
    this.#fd = libc().open(cString(path), OpenFlag.RDONLY | OpenFlag.CLOEXEC, 0);
    if (this.#fd < 0) throw new SyscallError("open", errno(), path, "mount /proc");
    try {
      this.#vector = MappedMemory.anonymous(capacity * REGION_BYTES);
    } catch (error) {
      libc().close(this.#fd);
      throw error;
    }
    this.#regions = new Uint32Array(this.#vector.bytes().buffer);
    const words = this.#words;
    words[SIZE] = ARGUMENT_BYTES;
    words[FLAGS] = flags;
    writePair(words, VECTOR, this.#vector.address);
    words[VECTOR_LENGTH] = capacity;
    words[CATEGORY_MASK] = PAGE_IS_WRITTEN;
    words[ANY_OF_MASK] = anyOf;
    words[RETURN_MASK] = PAGE_IS_WRITTEN;
    try {
      this.scan(0, 0); // finds nothing, or out that the kernel has no such call
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /**
   * Takes the written pages from `start` on, until the regions are full or `end` is reached.
   *
   * @param start address of the first byte, a multiple of the host page (of the huge page in hugetlbfs)
   * @param end address behind the last byte, likewise
   * @returns how many regions it found; {@linkcode WrittenPages.scannedTo} is how far it got
   * @throws {SyscallError} `EPERM` when the range, or a part of it, has no asynchronous
   * write-protection; `EINVAL` for an address within a page
   */
  scan(start: number, end: number): number {
    if (this.#fd < 0) throw new Error("Pagemap is closed");
    const words = this.#words;
    writePair(words, START, start);
    writePair(words, END, end);
    writePair(words, WALK_END, 0);
    const regions = libc().ioctl(this.#fd, PAGEMAP_SCAN, this.#argument);
    if (regions < 0) return this.#failed(start, end, errno());
    if (regions === 0 && start < end && this.scannedTo <= start) {
      // The kernel protects no part of a huge page, and would be asked for it again for ever.
      throw new SyscallError("PAGEMAP_SCAN", Errno.EINVAL, `${end - start} bytes cut a huge page`);
    }
    return regions;
  }

  #failed(start: number, end: number, code: number): number {
    const bytes = `${end - start} bytes`;
    if (code !== Errno.EINTR) throw new SyscallError("PAGEMAP_SCAN", code, bytes);
    // Some pages may have been protected again already, and nobody knows which: all are taken for
    // written. A page too many costs its transfer, a page too few the guest.
    const regions = this.#regions;
    const words = this.#words;
    regions[0] = words[START]!;
    regions[1] = words[START + 1]!;
    regions[2] = words[WALK_END] = words[END]!;
    regions[3] = words[WALK_END + 1] = words[END + 1]!;
    return 1;
  }

  /** Address up to which the last scan took pages: at its `end` nothing is left. */
  get scannedTo(): number {
    return readPair(this.#words, WALK_END);
  }

  /** Address of the first byte of a region of the last scan. */
  regionStart(region: number): number {
    return readPair(this.#regions, region * REGION_WORDS);
  }

  /** Address behind the last byte of a region of the last scan. */
  regionEnd(region: number): number {
    return readPair(this.#regions, region * REGION_WORDS + 2);
  }

  /** Closes the pagemap. Closing again does nothing. */
  close(): void {
    if (this.#fd < 0) return;
    libc().close(this.#fd);
    this.#fd = -1;
    this.#vector.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Takes the pages of this process that were written to since they were protected, and protects them
 * again: one step for each page, so that no write is lost between the two.
 */
export class WrittenPages extends PagemapScan {
  /**
   * @param capacity most regions that one scan returns
   * @throws {SyscallError} `ENOTTY` from `PAGEMAP_SCAN` when the kernel lacks it (before Linux 6.7)
   */
  constructor(capacity: number = REGIONS) {
    super({
      path: "/proc/self/pagemap",
      flags: PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
      // Nothing but the one category, asked for and returned: the kernel has a short way for that.
      anyOf: 0,
      capacity,
    });
  }
}

/** Finds the pages of another process that were written to since they were protected, and leaves them as they are. */
export class ForeignWrittenPages extends PagemapScan {
  /**
   * @param pid its number, as this process sees it; it may end, and its number be given out again, meanwhile
   * @throws {SyscallError} `EACCES` without the right to look into it (that of ptrace), `ENOENT` when it is gone,
   * `ENOTTY` before Linux 6.7
   */
  constructor(pid: number) {
    super({
      path: `/proc/${pid}/pagemap`,
      flags: PM_SCAN_CHECK_WPASYNC,
      // What is missing has no protection, and so counts as written.
      anyOf: PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
      capacity: REGIONS,
    });
  }
}
