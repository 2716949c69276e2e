/** Flags of open(2), from include/uapi/asm-generic/fcntl.h: equal on x86-64 and aarch64. */
export const OpenFlag = {
  RDONLY: 0,
  RDWR: 2,
  CREAT: 0o100,
  EXCL: 0o200,
  NONBLOCK: 0o4000,
  /** A write returns when what it wrote, and what is needed to find it, is on the disk. */
  DSYNC: 0o10000,
  CLOEXEC: 0o2000000,
} as const;
