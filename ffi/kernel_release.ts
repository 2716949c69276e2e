/** Which kernel this host runs. */

import { errno, libc } from "./libc.ts";
import { SyscallError } from "./errno.ts";

// struct utsname of uname(2): six fields of 65 bytes, the third is the release.
const FIELD_BYTES = 65;
const FIELDS = 6;
const RELEASE = 2;

/**
 * Returns the kernel's release, for example `"6.1.0-18-amd64"`. Needs no permission beyond the C
 * library's, unlike `Deno.osRelease`.
 *
 * @throws {SyscallError} from uname
 */
export function kernelRelease(): string {
  const names = new Uint8Array(FIELDS * FIELD_BYTES);
  if (libc().uname(names) < 0) throw new SyscallError("uname", errno());
  const field = names.subarray(RELEASE * FIELD_BYTES, (RELEASE + 1) * FIELD_BYTES);
  return new TextDecoder().decode(field.subarray(0, field.indexOf(0)));
}
