/** How many threads a userfaultfd holds, as the kernel says it. */

import { cString, errno, libc } from "./libc.ts";
import { SyscallError } from "./errno.ts";

/** Far more than a userfaultfd's fdinfo has. */
const MOST_BYTES = 4096;

/**
 * Returns the faults that wait on a userfaultfd, read or not, from `total:` in its fdinfo. Read
 * through libc: Deno asks for all permissions before it opens anything below /proc.
 *
 * @param fd the userfaultfd
 * @throws {SyscallError} when /proc is not mounted
 */
export function waitingFaults(fd: number): number {
  const path = `/proc/self/fdinfo/${fd}`;
  const file = libc().open(cString(path), 0, 0);
  if (file < 0) throw new SyscallError("open", errno(), path, "mount /proc");
  const bytes = new Uint8Array(MOST_BYTES);
  const length = libc().read(file, bytes, bytes.length);
  libc().close(file);
  const text = new TextDecoder().decode(bytes.subarray(0, Math.max(length, 0)));
  return Number(/^total:\s*(\d+)$/m.exec(text)?.[1] ?? 0);
}
