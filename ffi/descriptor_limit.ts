/** How many descriptors this process may have. */

import { libc } from "./libc.ts";

/** RLIMIT_NOFILE, from include/uapi/asm-generic/resource.h. */
const NUMBER_OF_FILES = 7;

/** Returns how many descriptors this process may have open at a time, its soft limit. */
export function descriptorLimit(): number {
  // struct rlimit { u64 soft; u64 hard; }
  const limits = new BigUint64Array(2);
  if (libc().getrlimit(NUMBER_OF_FILES, new Uint8Array(limits.buffer)) < 0) return Infinity;
  return Number(limits[0]);
}
