/** Files that are written at offsets, and given their name only when they are complete. */

import { cString, errno, libc } from "./libc.ts";
import { Errno, SyscallError } from "./errno.ts";
import { FileStatus } from "./file_status.ts";
import { OpenFlag } from "./open_flags.ts";

// From include/uapi/asm-generic/fcntl.h; equal on x86-64 and aarch64.
const F_OK = 0;
// From include/uapi/asm-generic/fcntl.h.
const LOCK_EX = 2;
const LOCK_NB = 4;
/** What the umask leaves of it: memory of a machine is nobody else's business. */
const MODE = 0o600;

/** What helps against an errno of a file that is written. */
const REMEDIES: Readonly<Record<number, string>> = {
  [Errno.ENOENT]: "make its directory first",
  [Errno.EACCES]: "give this user write permission in its directory",
  [Errno.ENOSPC]: "make room on that disk, or write to another",
  [Errno.EDQUOT]: "this user's quota is used up: make room, or write to another disk",
  [Errno.EFBIG]: "the file is larger than may be: raise the limit with ulimit -f",
};

/** Makes the error of a call on a file, with what to do about it. */
export function fileError(syscall: string, code: number, path: string): SyscallError {
  return new SyscallError(syscall, code, path, REMEDIES[code]);
}

/** Reports whether there is something of that name. */
export function fileExists(path: string): boolean {
  return libc().access(cString(path), F_OK) === 0;
}

/** Removes a file; one that is not there is no error. */
export function removeFile(path: string): void {
  libc().unlink(cString(path));
}

/**
 * Gives a file its name. Whoever opens that name gets the old file or all of the new one.
 *
 * @param replace whether a file of that name may be replaced
 * @throws {SyscallError} `EEXIST` when it may not and is there
 */
export function publishFile(from: string, to: string, replace: boolean): void {
  const [source, target] = [cString(from), cString(to)];
  if (!replace) {
    // Unlike rename, link never replaces anything, nor does another process come between.
    if (libc().link(source, target) === 0) return removeFile(from);
    const code = errno();
    if (code === Errno.EEXIST || fileExists(to)) throw fileError("link", Errno.EEXIST, to);
    // A file system without links.
  }
  if (libc().rename(source, target) < 0) throw fileError("rename", errno(), to);
}

/** Makes the names in a directory last: without it a crash may bring back an older state. */
export function syncDirectory(path: string): void {
  const fd = libc().open(cString(path), OpenFlag.RDONLY | OpenFlag.CLOEXEC, 0);
  if (fd < 0) return; // no permission to read it; the file itself is safe
  libc().fsync(fd);
  libc().close(fd);
}

/** A file that is written at offsets by any thread that has its descriptor. */
export class OutputFile implements Disposable {
  /** Its name as given. */
  readonly path: string;
  readonly #owned: boolean;
  #fd: number;

  private constructor(path: string, fd: number, owned: boolean) {
    this.path = path;
    this.#fd = fd;
    this.#owned = owned;
  }

  /**
   * Makes a file that must not be there yet.
   *
   * @throws {SyscallError} for example `EEXIST` or `EACCES`
   */
  static create(path: string): OutputFile {
    return OutputFile.#open(path, OpenFlag.RDWR | OpenFlag.CREAT | OpenFlag.EXCL);
  }

  /**
   * Opens a file that is there, to write on.
   *
   * @throws {SyscallError} for example `ENOENT` or `EACCES`
   */
  static open(path: string): OutputFile {
    return OutputFile.#open(path, OpenFlag.RDWR);
  }

  /** Uses a descriptor that another thread owns. */
  static borrow(path: string, fd: number): OutputFile {
    return new OutputFile(path, fd, false);
  }

  static #open(path: string, flags: number): OutputFile {
    const fd = libc().open(cString(path), flags | OpenFlag.CLOEXEC, MODE);
    if (fd < 0) throw fileError("open", errno(), path);
    return new OutputFile(path, fd, true);
  }

  /**
   * Opens it once more: what is written by that is on the disk when the write returns, and nothing else of
   * the file is waited for, as a sync would.
   *
   * @throws {SyscallError} for example `EMFILE`
   */
  openDurable(): OutputFile {
    return OutputFile.#open(this.path, OpenFlag.RDWR | OpenFlag.DSYNC);
  }

  /**
   * Locks it until it is closed, or its process ends.
   *
   * @returns 0, or the errno: `EAGAIN` when another has locked it
   */
  lock(): number {
    return libc().flock(this.#fd, LOCK_EX | LOCK_NB) === 0 ? 0 : errno();
  }

  /** The descriptor, for another thread; -1 once closed. */
  get fd(): number {
    return this.#fd;
  }

  /**
   * Writes what fits into one call.
   *
   * @returns bytes written, or the negated errno
   */
  write(bytes: Uint8Array<ArrayBuffer>, offset: number): number {
    const written = libc().pwrite(this.#fd, bytes, bytes.length, BigInt(offset));
    return written >= 0 ? written : -errno();
  }

  /**
   * Reads bytes; those behind the end of the file are zero.
   *
   * @throws {SyscallError} from pread, for example `EIO`
   */
  read(into: Uint8Array<ArrayBuffer>, offset: number): void {
    let done = 0;
    while (done < into.length) {
      const rest = into.subarray(done);
      const count = libc().pread(this.#fd, rest, rest.length, BigInt(offset + done));
      if (count === 0) return void rest.fill(0);
      if (count > 0) done += count;
      else if (errno() !== Errno.EINTR) throw fileError("pread", errno(), this.path);
    }
  }

  /**
   * Bytes that it has.
   *
   * @throws {SyscallError} from statx
   */
  size(): number {
    const status = new FileStatus();
    const code = status.look(this.#fd);
    if (code !== 0) throw fileError("statx", code, this.path);
    return status.size;
  }

  /** Waits until all that was written is on the disk; 0, or the errno. */
  sync(): number {
    return libc().fsync(this.#fd) === 0 ? 0 : errno();
  }

  /** Closes the descriptor; a borrowed one stays open. Closing again does nothing. */
  close(): void {
    if (this.#fd >= 0 && this.#owned) libc().close(this.#fd);
    this.#fd = -1;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
