/** Memory mappings: native memory with one owner, seen from any thread by its address. */

import { hugePageRemedy } from "./huge_pages.ts";
import { cString, errno, libc } from "./libc.ts";
import { Errno, SyscallError } from "./errno.ts";

// From include/uapi/asm-generic/mman-common.h, mman.h, memfd.h and fcntl.h; equal on x86-64 and aarch64.
export const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 0x01;
export const MAP_PRIVATE = 0x02;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;
const MADV_DONTNEED = 4;
const MADV_REMOVE = 9;
const MADV_NOHUGEPAGE = 15;
const MADV_POPULATE_WRITE = 23;
const MFD_CLOEXEC = 1;
const MFD_HUGETLB = 4;
/** The size of a huge page goes into a memfd's flags as its logarithm: MFD_HUGE_2MB is 21 << 26. */
const MFD_HUGE_SHIFT = 26;
const SC_PAGESIZE = 30;
const SC_PHYS_PAGES = 85;

/** `mmap`'s result for failure: all ones. */
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

/** Returns the size in bytes of this host's base page. */
export function hostPageSize(): number {
  return Number(libc().sysconf(SC_PAGESIZE));
}

/** Returns the bytes of physical memory that this host has. */
export function physicalMemory(): number {
  return Number(libc().sysconf(SC_PHYS_PAGES)) * hostPageSize();
}

/**
 * Returns native memory as bytes, without owning it: the mapping must outlive every use of the view.
 * Costs about 0.8 us: take a view once, not per page.
 *
 * @param address first byte, as a number (user addresses are below 2^47 and so are exact)
 * @param length bytes
 */
export function viewMemory(address: number, length: number): Uint8Array<ArrayBuffer> {
  const pointer = Deno.UnsafePointer.create(BigInt(address));
  if (pointer === null) throw new RangeError("Cannot view memory at address: 0");
  return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, length));
}

/**
 * Returns the address of a buffer's bytes. The address does not keep the buffer alive: whoever
 * stores it must hold the buffer beside it for as long.
 */
export function addressOf(buffer: BufferSource): number {
  return Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(buffer)));
}

/** How a mapping is backed. */
export type Backing = "anonymous" | "memfd";

/** How a memfd is made. */
export interface MemfdOptions {
  /**
   * Bytes of a page; default the host's base page. More than that takes huge pages of hugetlbfs: a
   * power of two that the kernel has, 2 MiB on x86-64 and aarch64.
   */
  readonly pageSize?: number;
}

/**
 * Maps memory and returns its address; for what owns it.
 *
 * @throws {SyscallError} from mmap
 */
export function mapMemory(
  length: number,
  protection: number,
  flags: number,
  fd: number,
  what: string,
  remedy: (code: number) => string | undefined = () => undefined,
): number {
  const result = libc().mmap(0n, BigInt(length), protection, flags, fd, 0n);
  if (result === MAP_FAILED) {
    const code = errno();
    throw new SyscallError("mmap", code, `${length} bytes of ${what}`, remedy(code));
  }
  return Number(result);
}

/** Without MAP_NORESERVE the kernel promises the pages to the file now: a lack of them shows here. */
function mapHuge(length: number, fd: number, pageSize: number): number {
  const remedy = (code: number) =>
    code === Errno.ENOMEM ? hugePageRemedy(length, pageSize) : undefined;
  return mapMemory(length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, "huge pages", remedy);
}

/**
 * A memory mapping that this object owns and unmaps when closed.
 *
 * @example
 * ```ts
 * import { MappedMemory } from "./memory.ts";
 *
 * using memory = MappedMemory.anonymous(8192);
 * memory.bytes()[0] = 1;
 * ```
 */
export class MappedMemory implements Disposable {
  /** Address of the first byte. */
  readonly address: number;
  /** Bytes mapped. */
  readonly length: number;
  #fd: number;
  #open = true;

  /** For what makes mappings. */
  protected constructor(address: number, length: number, fd: number) {
    this.address = address;
    this.length = length;
    this.#fd = fd;
  }

  /**
   * Maps private anonymous memory; no page exists before it is touched.
   *
   * @param length bytes
   * @throws {SyscallError} from mmap, for example `ENOMEM`
   */
  static anonymous(length: number): MappedMemory {
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    return new MappedMemory(
      mapMemory(length, PROT_READ | PROT_WRITE, flags, -1, "anonymous memory"),
      length,
      -1,
    );
  }

  /**
   * Maps a new memfd, shared; {@linkcode MappedMemory.fd} is its descriptor. Huge pages are promised
   * to the mapping: when there are not enough, it fails, and no touch of it does later.
   *
   * @param length bytes, a multiple of the page
   * @param name shown in /proc/PID/maps, at most its first 80 characters
   * @throws {SyscallError} from memfd_create, ftruncate or mmap; `ENOMEM` for want of huge pages, with
   * how many are free and how to get more
   */
  static memfd(length: number, name: string, options: MemfdOptions = {}): MappedMemory {
    const pageSize = options.pageSize ?? hostPageSize();
    const huge = pageSize > hostPageSize();
    const flags = huge
      ? MFD_CLOEXEC | MFD_HUGETLB | Math.log2(pageSize) << MFD_HUGE_SHIFT
      : MFD_CLOEXEC;
    // The kernel takes 249 bytes, and a character of UTF-16 makes three at most.
    const fd = libc().memfd_create(cString(name.slice(0, 80)), flags);
    if (fd < 0) {
      const code = errno();
      const remedy = huge ? hugePageRemedy(length, pageSize) : undefined;
      throw new SyscallError("memfd_create", code, name, remedy);
    }
    if (libc().ftruncate(fd, BigInt(length)) < 0) {
      const error = new SyscallError("ftruncate", errno(), `memfd to ${length} bytes`);
      libc().close(fd);
      throw error;
    }
    try {
      const address = huge
        ? mapHuge(length, fd, pageSize)
        : mapMemory(length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, "memfd");
      return new MappedMemory(address, length, fd);
    } catch (error) {
      libc().close(fd);
      throw error;
    }
  }

  /**
   * Maps a memfd owned elsewhere a second time.
   *
   * @param fd the memfd; it may be closed while this mapping lives
   * @param length bytes
   * @throws {SyscallError} from mmap
   */
  static alias(fd: number, length: number): MappedMemory {
    const flags = MAP_SHARED | MAP_NORESERVE;
    const address = mapMemory(length, PROT_READ | PROT_WRITE, flags, fd, "memfd");
    return new MappedMemory(address, length, -1);
  }

  /**
   * Takes over a mapping that another thread gave up with {@linkcode MappedMemory.release}.
   *
   * @param fd the memfd behind it, or -1
   */
  static adopt(address: number, length: number, fd: number): MappedMemory {
    return new MappedMemory(address, length, fd);
  }

  /** Gives the mapping up without unmapping it: another thread adopts it. */
  release(): void {
    this.#open = false;
  }

  /** The file behind the mapping, a memfd mostly; -1 when there is none, or once closed. */
  get fd(): number {
    return this.#fd;
  }

  /**
   * Returns the mapping, or a part of it, as bytes. The view must not be touched after `close`.
   *
   * @param offset first byte, default 0
   * @param length bytes, default to the end
   */
  bytes(offset = 0, length: number = this.length - offset): Uint8Array<ArrayBuffer> {
    if (!this.#open) throw new Error("Memory is closed");
    return viewMemory(this.address + offset, length);
  }

  /**
   * Copies a part of the mapping.
   *
   * @param offset first byte
   * @param into where it goes, and how much
   */
  read(offset: number, into: Uint8Array<ArrayBuffer>): void {
    into.set(this.bytes(offset, into.length));
  }

  /**
   * Gives the pages of a range back, so that the next touch finds them missing.
   *
   * @throws {SyscallError} from madvise
   */
  discard(offset: number, length: number): void {
    discardMemory(this.address + offset, length, this.#fd >= 0);
  }

  /** Backs every page now, so that later touches cost no allocation (benchmarks warm up so). */
  populate(): void {
    advise(this.address, this.length, MADV_POPULATE_WRITE, "MADV_POPULATE_WRITE");
  }

  /**
   * Keeps pages from coming in more than one at a time: with a huge page the neighbours of a page that
   * was touched would be there too, as zeros, and no longer missing.
   */
  adviseSmallPages(): void {
    // A kernel without huge pages refuses the advice, and needs it not.
    libc().madvise(BigInt(this.address), BigInt(this.length), MADV_NOHUGEPAGE);
  }

  /** Unmaps the memory. Closing again does nothing. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    libc().munmap(BigInt(this.address), BigInt(this.length));
    if (this.#fd >= 0) libc().close(this.#fd);
    this.#fd = -1;
  }

  /** Closes it. */
  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * Drops the pages of a range of a mapping owned elsewhere: the next touch finds them missing.
 *
 * @param shared true for a memfd, whose pages live in the page cache and outlast a mere DONTNEED
 * @throws {SyscallError} from madvise
 */
export function discardMemory(address: number, length: number, shared: boolean): void {
  if (shared) advise(address, length, MADV_REMOVE, "MADV_REMOVE");
  else advise(address, length, MADV_DONTNEED, "MADV_DONTNEED");
}

function advise(address: number, length: number, advice: number, name: string): void {
  if (libc().madvise(BigInt(address), BigInt(length), advice) < 0) {
    throw new SyscallError("madvise", errno(), `${name} over ${length} bytes`);
  }
}
