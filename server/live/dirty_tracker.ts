/** The dirty pages of a running guest, as the kernel tracks them. */

import { SyscallError } from "../../ffi/errno.ts";
import { kernelRelease } from "../../ffi/kernel_release.ts";
import { WrittenPages } from "../../ffi/pagemap.ts";
import {
  RegisterMode,
  registerRange,
  UffdFeature,
  Userfaultfd,
  writeProtectRange,
} from "../../ffi/userfaultfd.ts";
import type { PageBitmap } from "../../migration/memory/page_bitmap.ts";
import type { Steps } from "../../migration/threads/task.ts";
import { explainTrackingError } from "./tracking_error.ts";

const FEATURES = UffdFeature.WP_ASYNC | UffdFeature.WP_UNPOPULATED | UffdFeature.WP_HUGETLBFS_SHMEM;

/**
 * Bytes protected or scanned by one call. The kernel locks the address space meanwhile: nobody can map
 * or unmap memory for 5 ms a time, instead of a second and more for a large guest.
 */
const PIECE = 256 * 1024 * 1024;

/** Memory to track; a block of a {@linkcode LiveRegion}. Plain data, for `postMessage`. */
export interface TrackedBlock {
  /** Address of its first byte, a multiple of `pageSize`. */
  readonly address: number;
  /** Bytes; the mapping has whole host pages. */
  readonly length: number;
  /** Bytes of a host page: 4096, or 2 MiB or 1 GiB of hugetlbfs. */
  readonly pageSize: number;
  /** The number of its first target page in the bitmap. */
  readonly firstPage: number;
}

/** What a {@linkcode DirtyTracker} is made from; may be posted to a worker. */
export interface DirtyTrackerInit {
  /** The memory, which must stay mapped while it is tracked. */
  readonly blocks: readonly TrackedBlock[];
  /** Bytes of a target page. */
  readonly targetPageSize: number;
}

/**
 * Tracks writes to memory of this process: its pages are write-protected, the kernel lifts the
 * protection of a page at the first write to it, and {@linkcode DirtyTracker.collect} takes the pages
 * without protection and protects them again. Writers never wait for anybody: the first write to a
 * page costs a microsecond, those after it nothing.
 *
 * Seen are writes of any thread of this process, and of the kernel for it, through the blocks'
 * addresses. Not seen are writes through another mapping of the same memfd, `pwrite` to the memfd,
 * devices that write into pages pinned before, and that pages became zeros because they were given back
 * (`MADV_REMOVE`, a hole punched into the memfd): writes to them after that are seen.
 *
 * Belongs to the thread that made it: make it on the thread that collects. What takes long for a large
 * guest is there as a sequence too, in which others of the thread have their turns between the pieces.
 */
export class DirtyTracker implements Disposable {
  readonly #blocks: readonly TrackedBlock[];
  readonly #targetPageSize: number;
  readonly #registered: TrackedBlock[] = [];
  #uffd: Userfaultfd | undefined;
  #written: WrittenPages | undefined;

  /** @param init the memory; nothing is done to it yet */
  constructor(init: DirtyTrackerInit) {
    this.#blocks = init.blocks;
    this.#targetPageSize = init.targetPageSize;
  }

  /**
   * Begins: every write after this call is found by a `collect`. Takes 25 ms a GiB.
   *
   * @throws {MigrationError} `UNSUPPORTED` when the kernel is too old, naming it and what is needed
   * @throws {SyscallError} `EPERM` when no userfaultfd is granted, with what to do; `EBUSY` when another
   * one has the memory
   */
  start(): void {
    allOf(this.starting());
  }

  /** {@linkcode DirtyTracker.start} by pieces. */
  *starting(): Steps {
    if (this.#uffd !== undefined) throw new Error("Dirty tracking was started already");
    try {
      const uffd = this.#uffd = new Userfaultfd({ features: FEATURES });
      this.#written = new WrittenPages();
      for (const block of this.#blocks) {
        registerRange(uffd.fd, block.address, mappedLength(block), RegisterMode.WP);
        this.#registered.push(block);
        for (const { address, length } of piecesOf(block)) {
          writeProtectRange(uffd.fd, address, length, true);
          yield;
        }
      }
    } catch (error) {
      this.stop();
      throw explainTrackingError(error, kernelRelease());
    }
  }

  /**
   * Sets the bits of all pages that were written to since `start` or the last `collect`. What a page
   * holds must be read after this call returned: a write after it sets the page's bit again at the next.
   *
   * @param dirty bits by target page; others may take bits from it meanwhile
   * @returns how many bits were clear before
   * @throws {SyscallError} `EPERM` when the memory was mapped anew and so is not tracked any more
   */
  collect(dirty: PageBitmap): number {
    return allOf(this.collecting(dirty));
  }

  /** {@linkcode DirtyTracker.collect} by pieces. */
  *collecting(dirty: PageBitmap): Steps<number> {
    if (this.#written === undefined) throw new Error("Dirty tracking is not started");
    const written = this.#written;
    let added = 0;
    for (const block of this.#blocks) {
      for (const { address, length } of piecesOf(block)) {
        added += this.#collectPiece(block, address, address + length, written, dirty);
        yield;
      }
    }
    return added;
  }

  #collectPiece(
    block: TrackedBlock,
    start: number,
    end: number,
    written: WrittenPages,
    dirty: PageBitmap,
  ): number {
    const size = this.#targetPageSize;
    const { address, firstPage } = block;
    const pages = Math.ceil(block.length / size);
    let added = 0;
    for (let at = start; at < end; at = written.scannedTo) {
      const regions = written.scan(at, end);
      for (let region = 0; region < regions; region++) {
        // A host page may be a part of a target page, or many, of which the last lie behind the block.
        const first = Math.floor((written.regionStart(region) - address) / size);
        const behind = Math.min(pages, Math.ceil((written.regionEnd(region) - address) / size));
        added += dirty.fill(firstPage + first, behind - first);
      }
    }
    return added;
  }

  /**
   * Ends tracking: writes cost nothing any more, but for the first one to each page of a memfd, which
   * costs once more the microsecond in which the kernel makes the page writable. Takes 40 ms a GiB.
   * Stopping again does nothing.
   */
  stop(): void {
    allOf(this.stopping());
  }

  /** {@linkcode DirtyTracker.stop} by pieces; one that was broken off can be done again. */
  *stopping(): Steps {
    this.#written?.close();
    this.#written = undefined;
    const uffd = this.#uffd;
    if (uffd === undefined) return;
    // Closing alone leaves the pages protected before Linux 6.9. And only what this one registered:
    // before 6.16 a userfaultfd may unregister the memory of another.
    for (let block = this.#registered[0]; block !== undefined; block = this.#registered[0]) {
      for (const { address, length } of piecesOf(block)) {
        lift(uffd, address, length);
        yield;
      }
      this.#registered.shift();
    }
    uffd.close();
    this.#uffd = undefined;
  }

  [Symbol.dispose](): void {
    this.stop();
  }
}

/** Bytes of the block's whole host pages. */
function mappedLength({ length, pageSize }: TrackedBlock): number {
  return Math.ceil(length / pageSize) * pageSize;
}

/** A part of a block. */
interface Piece {
  readonly address: number;
  readonly length: number;
}

/** Goes through a block by pieces of whole host pages, of any size. */
function* piecesOf(block: TrackedBlock): Generator<Piece, void> {
  const end = block.address + mappedLength(block);
  const step = Math.max(PIECE, block.pageSize);
  for (let address = block.address; address < end; address += step) {
    yield { address, length: Math.min(step, end - address) };
  }
}

/** Does all of a sequence at once. */
function allOf<T>(steps: Steps<T>): T {
  while (true) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

function lift(uffd: Userfaultfd, address: number, length: number): void {
  try {
    uffd.unregister(address, length);
  } catch (error) {
    // Memory that was unmapped has no protection left to lift.
    if (!(error instanceof SyscallError)) throw error;
  }
}
