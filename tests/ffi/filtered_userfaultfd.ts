// deno-lint-ignore-file no-console -- a command
/**
 * Child process: has a seccomp filter refuse the system call userfaultfd, as containers and services do, and
 * prints, as JSON, what comes of opening one.
 *
 * ```sh
 * deno run -A tests/ffi/filtered_userfaultfd.ts ENOSYS [nobody]
 * ```
 *
 * @module
 */

import { Errno, SyscallError } from "../../ffi/errno.ts";
import { libc } from "../../ffi/libc.ts";
import { syscallNumbers } from "../../ffi/platform.ts";
import { Userfaultfd } from "../../ffi/userfaultfd.ts";
import { refuseSyscall } from "./refuse_syscall.ts";

const [code, user] = Deno.args;
libc();
if (user === "nobody") {
  const { symbols } = Deno.dlopen("libc.so.6", {
    setresuid: { parameters: ["u32", "u32", "u32"], result: "i32" },
  });
  symbols.setresuid(65534, 65534, 65534);
}

refuseSyscall(syscallNumbers().userfaultfd, code === "ENOSYS" ? Errno.ENOSYS : Errno.EPERM);

try {
  using uffd = new Userfaultfd();
  console.log(JSON.stringify(uffd.userModeOnly ? "user mode only" : "full"));
} catch (error) {
  if (!(error instanceof SyscallError)) throw error;
  console.log(JSON.stringify(error.message));
}
