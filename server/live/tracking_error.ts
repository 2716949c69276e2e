/** Why the writes of a guest cannot be tracked. */

import { Errno, SyscallError } from "../../ffi/errno.ts";
import { MigrationError } from "../../migration/migration_error.ts";

/** What a kernel answers that lacks what tracking needs: the call, and its errno. */
const LACKING: readonly (readonly [syscall: string, errno: number])[] = [
  ["userfaultfd", Errno.ENOSYS], // built without CONFIG_USERFAULTFD
  ["UFFDIO_API", Errno.EINVAL], // does not know WP_ASYNC or one of the others
  ["PAGEMAP_SCAN", Errno.ENOTTY], // the pagemap can only be read
];

/**
 * Tells what a failure to start tracking means.
 *
 * @param error what was thrown
 * @param release the kernel's, for example `"5.15.0-91-generic"`
 * @returns a MigrationError with the code `UNSUPPORTED` when the kernel lacks what is needed, else
 * the error as it is
 */
export function explainTrackingError(error: unknown, release: string): unknown {
  if (!(error instanceof SyscallError)) return error;
  const lacking = LACKING.some(([syscall, errno]) =>
    error.syscall === syscall && error.errno === errno
  );
  if (!lacking) return error;
  return new MigrationError(
    "UNSUPPORTED",
    `Cannot track writes to the guest's memory on Linux ${release}: ${error.syscall} failed with ` +
      `${error.code}: boot Linux 6.7 or later (6.10 on aarch64), with userfaultfd's WP_ASYNC and ` +
      "PAGEMAP_SCAN",
    { cause: error },
  );
}
