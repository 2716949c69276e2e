/** userfaultfd(2): faults of this process's memory taken by a thread of its own. */

import { errno, libc } from "./libc.ts";
import { Errno, SyscallError } from "./errno.ts";
import { openUserfaultfd } from "./userfaultfd_open.ts";

// From include/uapi/linux/userfaultfd.h; the ioctl numbers are equal on x86-64 and aarch64.
const UFFDIO_API = 0xc018_aa3f;
const UFFDIO_REGISTER = 0xc020_aa00;
const UFFDIO_UNREGISTER = 0x8010_aa01;
const UFFDIO_WRITEPROTECT = 0xc018_aa06;
const UFFD_API = 0xaan;
const WRITEPROTECT_MODE_WP = 1n;

/** What to watch a range for: `UFFDIO_REGISTER_MODE_*`. */
export const RegisterMode = { MISSING: 1n, WP: 2n, MINOR: 4n } as const;

/** `UFFD_FEATURE_*` bits. */
export const UffdFeature = {
  MISSING_HUGETLBFS: 1n << 4n,
  MISSING_SHMEM: 1n << 5n,
  THREAD_ID: 1n << 8n,
  MINOR_HUGETLBFS: 1n << 9n,
  MINOR_SHMEM: 1n << 10n,
  EXACT_ADDRESS: 1n << 11n,
  /** Memfds and hugetlbfs can be write-protected (Linux 5.19). */
  WP_HUGETLBFS_SHMEM: 1n << 12n,
  /** Pages that do not exist yet can be write-protected (Linux 6.4). */
  WP_UNPOPULATED: 1n << 13n,
  POISON: 1n << 14n,
  /** The kernel lifts the protection of a page by itself at the first write (Linux 6.7). */
  WP_ASYNC: 1n << 15n,
} as const;

/** How to open a userfaultfd. */
export interface UserfaultfdOptions {
  /** `UFFD_FEATURE_*` bits that must be there; see {@linkcode UffdFeature}. */
  readonly features?: bigint;
  /**
   * Whether faults of the kernel (a system call that touches a missing page) may fail with EFAULT:
   * all that an unprivileged user gets. Default true: taken only when nothing better is granted.
   */
  readonly allowUserModeOnly?: boolean;
}

/**
 * A userfaultfd that this object owns. While threads wait on missing pages, closing it would let
 * them run on zero pages: close it only when every page is placed or the memory's users are gone.
 */
export class Userfaultfd implements Disposable {
  #fd: number;
  /** `UFFD_FEATURE_*` bits that this kernel knows. */
  readonly features: bigint;
  /** True when only faults of user mode are taken: system calls on missing memory fail with EFAULT. */
  readonly userModeOnly: boolean;

  /**
   * Opens a userfaultfd: by system call, else through /dev/userfaultfd, else for user mode only.
   *
   * @throws {SyscallError} `EPERM` or `ENOSYS` when none is granted, with what to do; `EINVAL` when a feature is
   * missing in this kernel
   */
  constructor(options: UserfaultfdOptions = {}) {
    const { fd, userModeOnly } = openUserfaultfd(options.allowUserModeOnly ?? true);
    const wanted = options.features ?? 0n;
    const api = new BigUint64Array([UFFD_API, wanted, 0n]);
    if (libc().ioctl(fd, UFFDIO_API, new Uint8Array(api.buffer)) < 0) {
      const error = new SyscallError(
        "UFFDIO_API",
        errno(),
        `features 0x${wanted.toString(16)}`,
        "this kernel lacks one of them; a newer one is needed",
      );
      libc().close(fd);
      throw error;
    }
    this.#fd = fd;
    this.features = api[1]!;
    this.userModeOnly = userModeOnly;
  }

  /** The descriptor, for a worker's poll; -1 once closed. */
  get fd(): number {
    return this.#fd;
  }

  /**
   * Takes the faults of a range from now on.
   *
   * @param mode bits of {@linkcode RegisterMode}
   * @throws {SyscallError} `EBUSY` when another userfaultfd has the range
   */
  register(address: number, length: number, mode: bigint): void {
    registerRange(this.#fd, address, length, mode);
  }

  /**
   * Leaves a range alone from now on. Threads that wait on one of its pages resume on a **zero
   * page**: only for ranges that are complete.
   *
   * @throws {SyscallError} from the ioctl
   */
  unregister(address: number, length: number): void {
    unregisterRange(this.#fd, address, length);
  }

  /** Closes the descriptor. Closing again does nothing. */
  close(): void {
    if (this.#fd < 0) return;
    libc().close(this.#fd);
    this.#fd = -1;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** {@linkcode Userfaultfd.register} by descriptor, for a worker that borrows it. */
export function registerRange(fd: number, address: number, length: number, mode: bigint): void {
  const range = new BigUint64Array([BigInt(address), BigInt(length), mode, 0n]);
  if (libc().ioctl(fd, UFFDIO_REGISTER, new Uint8Array(range.buffer)) < 0) {
    const code = errno();
    const remedy = code === Errno.EBUSY
      ? "another userfaultfd has this memory, of a migration that has not ended: end that first"
      : undefined;
    throw new SyscallError("UFFDIO_REGISTER", code, `${length} bytes, mode ${mode}`, remedy);
  }
}

/** {@linkcode Userfaultfd.unregister} by descriptor, for a worker that borrows it. */
export function unregisterRange(fd: number, address: number, length: number): void {
  const range = new BigUint64Array([BigInt(address), BigInt(length)]);
  if (libc().ioctl(fd, UFFDIO_UNREGISTER, new Uint8Array(range.buffer)) < 0) {
    throw new SyscallError("UFFDIO_UNREGISTER", errno(), `${length} bytes`);
  }
}

/**
 * Protects the pages of a range from writes, or lifts the protection and wakes who waits for that.
 * The range must have been registered with `RegisterMode.WP`.
 *
 * @param fd the userfaultfd, for a worker that borrows it
 * @param address first byte, a multiple of the host page
 * @param length bytes, a multiple of the host page
 * @param protect whether writes are to be noticed from now on
 * @throws {SyscallError} from the ioctl, for example `ENOENT` when the range is not registered
 */
export function writeProtectRange(
  fd: number,
  address: number,
  length: number,
  protect: boolean,
): void {
  const mode = protect ? WRITEPROTECT_MODE_WP : 0n;
  const range = new BigUint64Array([BigInt(address), BigInt(length), mode]);
  if (libc().ioctl(fd, UFFDIO_WRITEPROTECT, new Uint8Array(range.buffer)) < 0) {
    throw new SyscallError("UFFDIO_WRITEPROTECT", errno(), `${length} bytes`);
  }
}
