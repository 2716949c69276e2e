/** The process at the other end of a unix socket, by a descriptor that outlives its number: pidfd_open(2). */

import { errno, libc } from "./libc.ts";
import { Errno } from "./errno.ts";

/** SOL_SOCKET with SO_PEERCRED and SO_PEERPIDFD (Linux 6.5), from include/uapi/asm-generic/socket.h. */
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_PEERPIDFD = 77;
// The same on every architecture.
const PIDFD_SEND_SIGNAL = 424n;
const PIDFD_OPEN = 434n;
const SIGKILL = 9n;

/** Who connected. */
export interface PeerProcess {
  /** Its number as this process sees it; 0 when it is out of sight (another PID namespace). */
  readonly pid: number;
  /** Its user. */
  readonly uid: number;
  /** Readable once it has ended; the caller's to close. -1 when none can be had. */
  readonly pidfd: number;
}

/**
 * Tells who connected to a unix socket. To be asked at once: before Linux 6.5 the process is found by its
 * number, which is given out again.
 *
 * @param fd the connection
 */
export function peerProcess(fd: number): PeerProcess {
  // struct ucred { pid_t pid; uid_t uid; gid_t gid; }
  const bytes = new Uint8Array(12);
  const length = new Uint8Array(new Uint32Array([bytes.length]).buffer);
  const known = libc().getsockopt(fd, SOL_SOCKET, SO_PEERCRED, bytes, length) === 0;
  const [pid = 0, uid = 0] = known ? new Int32Array(bytes.buffer) : [];
  return { pid, uid, pidfd: peerPidfd(fd, pid) };
}

function peerPidfd(fd: number, pid: number): number {
  const bytes = new Uint8Array(4);
  const length = new Uint8Array(new Uint32Array([bytes.length]).buffer);
  if (libc().getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, bytes, length) === 0) {
    return new Int32Array(bytes.buffer)[0]!;
  }
  return pid <= 0 ? -1 : libc().pidfd_open(PIDFD_OPEN, BigInt(pid), 0n); // closed on exec by itself
}

/**
 * Ends a process at once (SIGKILL).
 *
 * @returns 0, also when it has ended before; or the errno
 */
export function killProcess(pidfd: number): number {
  if (libc().pidfd_send_signal(PIDFD_SEND_SIGNAL, BigInt(pidfd), SIGKILL, 0n, 0n) === 0) return 0;
  const code = errno();
  return code === Errno.ESRCH ? 0 : code;
}
