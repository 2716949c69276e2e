/** Whether something answers system calls in the kernel's place. */

import { libc } from "./libc.ts";

// From include/uapi/linux/prctl.h and seccomp.h.
const PR_GET_SECCOMP = 21;
const SECCOMP_MODE_DISABLED = 0;

/** Whether a filter of system calls (seccomp: containers, services) is on for this thread. */
export function hasSeccompFilter(): boolean {
  return libc().prctl(PR_GET_SECCOMP, 0n, 0n, 0n, 0n) > SECCOMP_MODE_DISABLED;
}
