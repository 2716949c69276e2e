/** A file mapped for sending from where it lies, and read without a touch of the mapping. */

import { Errno, SyscallError } from "./errno.ts";
import { FileStatus } from "./file_status.ts";
import { cString, errno, libc } from "./libc.ts";
import { MAP_PRIVATE, mapMemory, MappedMemory, PROT_READ } from "./memory.ts";
import { OpenFlag } from "./open_flags.ts";

/**
 * A file that is only read. To touch a mapping of a file kills the process (SIGBUS) where the file was cut
 * short, or its disk or server fails; a system call says EFAULT instead. So the mapping is for system
 * calls alone, which take pages from where they lie, and whoever looks at bytes gets a copy, by pread.
 *
 * @example
 * ```ts
 * import { MappedFile } from "./mapped_file.ts";
 *
 * const path = new URL(import.meta.url).pathname;
 * using file = MappedFile.open(path, (await Deno.stat(path)).size);
 * console.log(new TextDecoder().decode(file.bytes(0, 3)));
 * ```
 */
export class MappedFile extends MappedMemory {
  /** The file's name as given. */
  readonly path: string;
  /** What its inode said when it was opened. */
  readonly opened: FileStatus;

  private constructor(
    path: string,
    address: number,
    length: number,
    fd: number,
    opened: FileStatus,
  ) {
    super(address, length, fd);
    this.path = path;
    this.opened = opened;
  }

  /**
   * Opens and maps a file; it is not loaded, its pages come from the page cache.
   *
   * @param length bytes, at most the file's size
   * @throws {SyscallError} from open, statx or mmap
   */
  static open(path: string, length: number): MappedFile {
    const fd = libc().open(cString(path), OpenFlag.RDONLY | OpenFlag.CLOEXEC, 0);
    if (fd < 0) {
      const code = errno();
      const remedy = code === Errno.EACCES ? "give this user read permission" : undefined;
      throw new SyscallError("open", code, path, remedy);
    }
    try {
      const status = new FileStatus();
      const code = status.look(fd);
      if (code !== 0) throw new SyscallError("statx", code, path);
      // Private and read-only: the file can never be written through this mapping.
      const address = mapMemory(length, PROT_READ, MAP_PRIVATE, fd, path);
      return new MappedFile(path, address, length, fd, status);
    } catch (error) {
      libc().close(fd);
      throw error;
    }
  }

  /**
   * Returns a copy of a part of the file.
   *
   * @param offset first byte, default 0
   * @param length bytes, default to the end
   * @throws {SyscallError} from pread; `ENODATA` when the file has become shorter
   */
  override bytes(offset = 0, length: number = this.length - offset): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    this.read(offset, bytes);
    return bytes;
  }

  /**
   * Copies a part of the file.
   *
   * @throws {SyscallError} from pread; `ENODATA` when the file has become shorter
   */
  override read(offset: number, into: Uint8Array<ArrayBuffer>): void {
    if (this.fd < 0) throw new Error("Memory is closed");
    const count = readAt(this.fd, into, into.length, offset);
    if (count === into.length) return;
    const code = count < 0 ? -count : Errno.ENODATA;
    throw new SyscallError("pread", code, `${into.length} bytes at ${offset} of ${this.path}`);
  }
}

/**
 * Reads a file from a place.
 *
 * @param into where it goes
 * @param length bytes, at most those of `into` and 2 GiB less 4 KiB at a time
 * @returns bytes read, fewer at the end of the file alone; or the negated errno
 */
export function readAt(
  fd: number,
  into: Uint8Array<ArrayBuffer>,
  length: number,
  offset: number,
): number {
  let done = 0;
  while (done < length) {
    const rest = done === 0 ? into : into.subarray(done);
    const count = libc().pread(
      fd,
      rest,
      Math.min(length - done, MOST_AT_ONCE),
      BigInt(offset + done),
    );
    if (count === 0) break;
    if (count > 0) done += count;
    else if (errno() !== Errno.EINTR) return -errno();
  }
  return done;
}

/** What the kernel reads at most with one call, MAX_RW_COUNT; the result is of 32 bits here. */
const MOST_AT_ONCE = 0x7fff_f000;
