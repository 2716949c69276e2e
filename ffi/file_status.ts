/** What a file's inode says of it: statx(2). */

import { cString, errno, libc } from "./libc.ts";

// From include/uapi/linux/fcntl.h and stat.h; equal on x86-64 and aarch64, as struct statx is.
const AT_EMPTY_PATH = 0x1000;
const STATX_MTIME = 0x40;
const STATX_SIZE = 0x200;
const STATX_BYTES = 256;
const SIZE_AT = 40;
const MTIME_AT = 112;

/** Bytes and time of the last modification of an open file. Made once: looking allocates nothing. */
export class FileStatus {
  readonly #bytes = new Uint8Array(STATX_BYTES);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #path = cString("");

  /** Bytes of the file, at the last look. */
  get size(): number {
    return this.#view.getUint32(SIZE_AT, true) + this.#view.getUint32(SIZE_AT + 4, true) * 2 ** 32;
  }

  /** Whole seconds since 1970 of the last modification. */
  get seconds(): number {
    return this.#view.getUint32(MTIME_AT, true) + this.#view.getInt32(MTIME_AT + 4, true) * 2 ** 32;
  }

  /** Nanoseconds of that second. */
  get nanoseconds(): number {
    return this.#view.getUint32(MTIME_AT + 8, true);
  }

  /** Looks at a file, which takes 0.5 us. Returns 0, or the errno. */
  look(fd: number): number {
    const mask = STATX_MTIME | STATX_SIZE;
    return libc().statx(fd, this.#path, AT_EMPTY_PATH, mask, this.#bytes) === 0 ? 0 : errno();
  }
}
