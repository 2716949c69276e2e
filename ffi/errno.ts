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
  61: "ENODATA",
  71: "EPROTO",
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
  109: "ETOOMANYREFS",
  110: "ETIMEDOUT",
  111: "ECONNREFUSED",
  113: "EHOSTUNREACH",
  114: "EALREADY",
  115: "EINPROGRESS",
  116: "ESTALE",
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
  /** Memory that cannot be read: also that of a mapped file behind its end, or with a disk error. */
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  EISDIR: 21,
  EINVAL: 22,
  /** No descriptor is left, in the host or in this process. */
  ENFILE: 23,
  EMFILE: 24,
  EFBIG: 27,
  ENOSPC: 28,
  /** What a file answers that has no ioctl of that number. */
  ENOTTY: 25,
  EPIPE: 32,
  ENOSYS: 38,
  /** Said here of a file that ends too soon. */
  ENODATA: 61,
  /** Said here of a TLS session that broke. */
  EPROTO: 71,
  /** What a socket answers that knows no options of such a level. */
  EOPNOTSUPP: 95,
  EADDRINUSE: 98,
  /** A client that gave up before it was accepted. */
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ENETUNREACH: 101,
  /** The peer's kernel gave no sign of life, or took nothing, for too long. */
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EHOSTUNREACH: 113,
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
