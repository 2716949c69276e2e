/** Placing pages through a userfaultfd: the ioctls of the hot path, without an allocation. */

import { errno, libc } from "./libc.ts";
import { Errno, SyscallError } from "./errno.ts";
import { writePair } from "./word_pairs.ts";

// From include/uapi/linux/userfaultfd.h.
const UFFDIO_WAKE = 0x8010_aa02;
const UFFDIO_COPY = 0xc028_aa03;
const UFFDIO_ZEROPAGE = 0xc020_aa04;
const UFFDIO_CONTINUE = 0xc020_aa07;
const UFFDIO_POISON = 0xc020_aa08;
const UFFDIO_COPY_MODE_WP = 2;

/** What became of an attempt to place pages. */
export const Placement = {
  /** All pages are in place and whoever waited for them runs. */
  PLACED: 0,
  /** A page was there already; it was left as it is. */
  PRESENT: 1,
  /** The address space is changing, or only a part was placed: try the rest again. */
  RETRY: 2,
  /** The memory, or the process that had it, is gone. */
  GONE: 3,
} as const;

/** One of {@linkcode Placement}. */
export type Placement = typeof Placement[keyof typeof Placement];

/**
 * Classifies the errno of a placing ioctl.
 *
 * @throws {SyscallError} for what only a mistake in this program can cause (`EINVAL`, `EFAULT`)
 */
export function classifyPlacement(ioctl: string, code: number): Placement {
  switch (code) {
    case 0:
      return Placement.PLACED;
    case Errno.EEXIST:
      return Placement.PRESENT;
    case Errno.EAGAIN:
    case Errno.EINTR:
      return Placement.RETRY;
    case Errno.ESRCH:
    case Errno.ENOENT:
      return Placement.GONE;
    default:
      throw new SyscallError(ioctl, code);
  }
}

/**
 * Places pages into memory registered with a userfaultfd. One thread's own; several threads may
 * each have one for the same descriptor. All addresses and lengths are in bytes and multiples of
 * the host page, except the source of a copy, which may lie anywhere.
 */
export class PagePlacer {
  readonly #fd: number;
  readonly #copyMode: number;
  readonly #bytes = new Uint8Array(40);
  readonly #words = new Uint32Array(this.#bytes.buffer);
  #placed = 0;
  #errno = 0;

  /**
   * @param fd the userfaultfd, owned elsewhere
   * @param protect whether pages are copied in write-protected, which all of the memory must be registered for
   */
  constructor(fd: number, protect = false) {
    this.#fd = fd;
    this.#copyMode = protect ? UFFDIO_COPY_MODE_WP : 0;
  }

  /** Bytes placed by the last call, when it was not all. */
  get placedBytes(): number {
    return this.#placed;
  }

  /** True when the last call found the process gone whose memory it is, not only a range of it. */
  get processGone(): boolean {
    return this.#errno === Errno.ESRCH;
  }

  /**
   * Copies pages in and wakes whoever waits for them.
   *
   * @param to first byte of the first page
   * @param from first byte of their content, owned by the caller for the length of the call
   */
  copy(to: number, from: number, length: number): Placement {
    const words = this.#words;
    writePair(words, 0, to);
    writePair(words, 2, from);
    words[4] = length;
    words[5] = 0;
    words[6] = this.#copyMode;
    words[7] = 0;
    return this.#place("UFFDIO_COPY", UFFDIO_COPY, 8, length);
  }

  /** Maps zero pages and wakes whoever waits for them. */
  zero(to: number, length: number): Placement {
    this.#range(to, length);
    return this.#place("UFFDIO_ZEROPAGE", UFFDIO_ZEROPAGE, 6, length);
  }

  /** Maps pages whose content is in the page cache of the memfd behind the range already. */
  continue(to: number, length: number): Placement {
    this.#range(to, length);
    return this.#place("UFFDIO_CONTINUE", UFFDIO_CONTINUE, 6, length);
  }

  /** Marks pages so that touching them raises SIGBUS: for a page that can never be served (Linux 6.6). */
  poison(to: number, length: number): Placement {
    this.#range(to, length);
    return this.#place("UFFDIO_POISON", UFFDIO_POISON, 6, length);
  }

  /**
   * Wakes whoever waits for the pages; a thread whose page is still missing faults again.
   *
   * @throws {SyscallError} from the ioctl
   */
  wake(to: number, length: number): void {
    this.#range(to, length);
    if (libc().ioctl(this.#fd, UFFDIO_WAKE, this.#bytes) < 0) {
      throw new SyscallError("UFFDIO_WAKE", errno());
    }
  }

  #range(to: number, length: number): void {
    const words = this.#words;
    writePair(words, 0, to);
    writePair(words, 2, length);
    words[4] = 0;
    words[5] = 0;
    words[6] = 0;
    words[7] = 0;
  }

  #place(name: string, ioctl: number, resultWord: number, length: number): Placement {
    if (libc().ioctl(this.#fd, ioctl, this.#bytes) === 0) {
      this.#errno = 0;
      this.#placed = length;
      return Placement.PLACED;
    }
    const code = errno();
    this.#errno = code;
    // The result field holds what was placed before the kernel stopped, else a negated errno.
    const words = this.#words;
    this.#placed = words[resultWord + 1] === 0 ? words[resultWord]! : 0;
    return classifyPlacement(name, code);
  }
}
