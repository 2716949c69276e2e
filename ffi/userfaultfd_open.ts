/** Getting a userfaultfd: by the system call, or through its device. */

import { cString, errno, libc } from "./libc.ts";
import { Errno, errnoName, SyscallError } from "./errno.ts";
import { kernelRelease } from "./kernel_release.ts";
import { OpenFlag } from "./open_flags.ts";
import { syscallNumbers } from "./platform.ts";
import { hasSeccompFilter } from "./seccomp.ts";

// From include/uapi/linux/userfaultfd.h; the ioctl numbers are equal on x86-64 and aarch64.
const USERFAULTFD_IOC_NEW = 0x0000_aa00;
const UFFD_USER_MODE_ONLY = 1;

const DEVICE = "/dev/userfaultfd";
const FLAGS = OpenFlag.CLOEXEC | OpenFlag.NONBLOCK;

const REMEDY = `run as root, set sysctl vm.unprivileged_userfaultfd=1, or give access to ${DEVICE}`;

/** A userfaultfd that was granted. */
export interface OpenedUserfaultfd {
  /** The caller's to close. */
  readonly fd: number;
  /** Whether faults of the kernel on missing memory fail. */
  readonly userModeOnly: boolean;
}

/**
 * Opens a userfaultfd: by the system call, else through the device, which a filter of system calls (seccomp:
 * containers, services) does not know, else for user mode only.
 *
 * @param allowUserModeOnly whether the last is good enough
 * @throws {SyscallError} `EPERM` or `ENOSYS` when none is granted, with what to do
 */
export function openUserfaultfd(allowUserModeOnly: boolean): OpenedUserfaultfd {
  const fd = openByCall(FLAGS);
  if (fd >= 0) return { fd, userModeOnly: false };
  const refused = fd === -Errno.EPERM || fd === -Errno.ENOSYS;
  const device = refused ? openByDevice() : fd;
  if (device >= 0) return { fd: device, userModeOnly: false };
  if (fd === -Errno.EPERM && allowUserModeOnly) {
    const limited = openByCall(FLAGS | UFFD_USER_MODE_ONLY);
    if (limited >= 0) return { fd: limited, userModeOnly: true };
  }
  throw new SyscallError("userfaultfd", -fd, undefined, remedy(-fd, -device));
}

function openByCall(flags: number): number {
  const fd = libc().syscall(BigInt(syscallNumbers().userfaultfd), BigInt(flags));
  return fd >= 0 ? fd : -errno();
}

/** The device gives full descriptors to whoever may open it (Linux 6.1). */
function openByDevice(): number {
  const device = libc().open(cString(DEVICE), OpenFlag.RDWR | OpenFlag.CLOEXEC, 0);
  if (device < 0) return -errno();
  const fd = libc().ioctlNumber(device, USERFAULTFD_IOC_NEW, BigInt(FLAGS));
  const result = fd >= 0 ? fd : -errno();
  libc().close(device);
  return result;
}

/** What to do about it: a filter of system calls answers in the kernel's place. */
function remedy(code: number, deviceCode: number): string | undefined {
  if (code !== Errno.EPERM && code !== Errno.ENOSYS) return undefined;
  if (hasSeccompFilter()) {
    return `a seccomp filter of this container or service may refuse it, and ${DEVICE} fails with ` +
      `${
        errnoName(deviceCode)
      }: give access to that (docker run --device ${DEVICE}; Linux 6.1), or ` +
      `allow the system call userfaultfd in the filter` +
      (code === Errno.EPERM ? "; without a filter: " + REMEDY : "");
  }
  if (code === Errno.EPERM) return REMEDY;
  return `this kernel was built without it: Linux ${kernelRelease()}: use one with CONFIG_USERFAULTFD`;
}
