/** Failed system calls as errors: the call, the errno by name, and what to do about it. */

/** Linux errno values by number, from include/uapi/asm-generic/errno-base.h and errno.h. */
const NAMES: Readonly<Record<number, string>> = {
  1: "EPERM",
  2: "ENOENT",
  3: "ESRCH",
  4: "EINTR",
  5: "EIO",
  7: "E2BIG",
  9: "EBADF",
  11: "EAGAIN",
  12: "ENOMEM",
  13: "EACCES",
  14: "EFAULT",
  16: "EBUSY",
  17: "EEXIST",
  19: "ENODEV",
  20: "ENOTDIR",
  21: "EISDIR",
  22: "EINVAL",
  23: "ENFILE",
  24: "EMFILE",
  25: "ENOTTY",
  26: "ETXTBSY",
  27: "EFBIG",
  28: "ENOSPC",
  29: "ESPIPE",
  30: "EROFS",
  32: "EPIPE",
  38: "ENOSYS",
  75: "EOVERFLOW",
  88: "ENOTSOCK",
  92: "ENOPROTOOPT",
  95: "EOPNOTSUPP",
  97: "EAFNOSUPPORT",
  98: "EADDRINUSE",
  99: "EADDRNOTAVAIL",
  101: "ENETUNREACH",
  103: "ECONNABORTED",
  104: "ECONNRESET",
  105: "ENOBUFS",
  106: "EISCONN",
  107: "ENOTCONN",
  110: "ETIMEDOUT",
  111: "ECONNREFUSED",
  113: "EHOSTUNREACH",
  114: "EALREADY",
  115: "EINPROGRESS",
  122: "EDQUOT",
};

/** The errno values that code here tells apart. */
export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  EISDIR: 21,
  EINVAL: 22,
  EFBIG: 27,
  ENOSPC: 28,
  /** What a file answers that has no ioctl of that number. */
  ENOTTY: 25,
  EPIPE: 32,
  ENOSYS: 38,
  EADDRINUSE: 98,
  /** A client that gave up before it was accepted. */
  ECONNABORTED: 103,
  ECONNRESET: 104,
  EINPROGRESS: 115,
  EDQUOT: 122,
} as const;

/** Returns the name of an errno value, for example `"EPERM"` for 1. */
export function errnoName(errno: number): string {
  return NAMES[errno] ?? `errno ${errno}`;
}

/** A system call that failed. */
export class SyscallError extends Error {
  /** The class's name. */
  override readonly name = "SyscallError";
  /** The errno by name, for example `"EPERM"`. */
  readonly code: string;
  /** The system call or ioctl that failed, for example `"userfaultfd"`. */
  readonly syscall: string;
  /** The errno as the kernel gave it. */
  readonly errno: number;

  /**
   * Makes the error.
   *
   * @param syscall name of the call
   * @param errno the kernel's errno, positive
   * @param context what was attempted and with which value, for example `"connect to 10.0.0.2:4444"`
   * @param remedy what the user can do about it
   */
  constructor(
    syscall: string,
    errno: number,
    context?: string,
    remedy?: string,
    options?: ErrorOptions,
  ) {
    const code = errnoName(errno);
    const what = context === undefined ? "" : `: ${context}`;
    const advice = remedy === undefined ? "" : `: ${remedy}`;
    super(`${syscall} failed with ${code}${what}${advice}`, options);
    this.code = code;
    this.syscall = syscall;
    this.errno = errno;
  }
}
