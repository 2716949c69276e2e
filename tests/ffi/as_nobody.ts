// deno-lint-ignore-file no-console -- a command
/**
 * Child process: opens userfaultfds as the user nobody and prints, as JSON, what came of it.
 *
 * @module
 */

import { libc } from "../../ffi/libc.ts";
import { SyscallError } from "../../ffi/errno.ts";
import { Userfaultfd } from "../../ffi/userfaultfd.ts";

/** What it prints. */
export interface AsNobody {
  readonly uid: number;
  /** `"user mode only"`, `"full"`, or the error. */
  readonly allowed: string;
  /** The same when user mode alone is not enough. */
  readonly full: string;
  readonly code: string | undefined;
  readonly syscall: string | undefined;
}

libc();
const privileges = Deno.dlopen("libc.so.6", {
  setgroups: { parameters: ["usize", "pointer"], result: "i32" },
  setresgid: { parameters: ["u32", "u32", "u32"], result: "i32" },
  setresuid: { parameters: ["u32", "u32", "u32"], result: "i32" },
});
// The files of this program may be out of a stranger's reach: privileges go after it has loaded.
privileges.symbols.setgroups(0n, null);
privileges.symbols.setresgid(65534, 65534, 65534);
privileges.symbols.setresuid(65534, 65534, 65534);

function open(allowUserModeOnly: boolean): { outcome: string; error?: SyscallError } {
  try {
    using uffd = new Userfaultfd({ allowUserModeOnly });
    return { outcome: uffd.userModeOnly ? "user mode only" : "full" };
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return { outcome: error.message, error };
  }
}

const allowed = open(true);
const full = open(false);
const report: AsNobody = {
  uid: Deno.uid()!,
  allowed: allowed.outcome,
  full: full.outcome,
  code: full.error?.code,
  syscall: full.error?.syscall,
};
console.log(JSON.stringify(report));
