/** Descriptors that came from elsewhere. */

import { errno, libc } from "./libc.ts";
import { SyscallError } from "./errno.ts";

// From include/uapi/asm-generic/fcntl.h.
const F_SETFD = 2;
const FD_CLOEXEC = 1;
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;

/** Has calls on a descriptor never wait, for all who share the open file. */
export function makeNonBlocking(fd: number): void {
  const flags = libc().fcntl(fd, F_GETFL, 0);
  if (flags >= 0 && (flags & O_NONBLOCK) === 0) libc().fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

/** Closes a descriptor that the caller owns. */
export function closeDescriptor(fd: number): void {
  libc().close(fd);
}

/** Has a descriptor that was inherited be closed when this process starts another. */
export function closeOnExec(fd: number): void {
  libc().fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/**
 * Makes a pipe, both ends the caller's to close.
 *
 * @returns the end to read from, and the one to write to
 * @throws {SyscallError} for example `EMFILE`
 */
export function newPipe(): { readonly reading: number; readonly writing: number } {
  const bytes = new Uint8Array(8);
  if (libc().pipe2(bytes, O_CLOEXEC | O_NONBLOCK) < 0) throw new SyscallError("pipe2", errno());
  const [reading, writing] = new Int32Array(bytes.buffer);
  return { reading: reading!, writing: writing! };
}
