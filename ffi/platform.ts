/** Which kernel ABI this process runs on, and the few numbers that differ between them. */

/** The machine architectures whose Linux system call numbers are known here. */
export type Architecture = "x86_64" | "aarch64";

/** Thrown at start on anything but x86-64 or aarch64 Linux. */
export class UnsupportedPlatformError extends Error {
  /** The class's name. */
  override readonly name = "UnsupportedPlatformError";
  /** Machine-readable reason. */
  readonly code = "UNSUPPORTED_PLATFORM";
}

/** System call numbers by architecture, from Linux arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h. */
const SYSCALL_NUMBERS = {
  x86_64: { userfaultfd: 323, gettid: 186, futex: 202, sched_setattr: 314 },
  aarch64: { userfaultfd: 282, gettid: 178, futex: 98, sched_setattr: 274 },
} as const satisfies Record<Architecture, Record<string, number>>;

type SyscallName = keyof typeof SYSCALL_NUMBERS[Architecture];

/**
 * Returns the architecture this process runs on.
 *
 * @param build what this process was built for
 * @throws {UnsupportedPlatformError} when it is not 64-bit little-endian Linux on x86-64 or aarch64.
 */
export function requirePlatform(
  { os, arch }: { readonly os: string; readonly arch: string } = Deno.build,
): Architecture {
  if (os !== "linux" || (arch !== "x86_64" && arch !== "aarch64")) {
    throw new UnsupportedPlatformError(
      `Unsupported platform: ${os} on ${arch}: postcopy needs Linux on x86-64 or aarch64, for userfaultfd`,
    );
  }
  return arch;
}

/** Returns the system call numbers of this machine. */
export function syscallNumbers(): Readonly<Record<SyscallName, number>> {
  return SYSCALL_NUMBERS[requirePlatform()];
}
