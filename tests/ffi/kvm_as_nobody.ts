// deno-lint-ignore-file no-console -- a command
/**
 * Child process: prints, as the user nobody, why KVM cannot be used.
 *
 * @module
 */

import { kvmAbsence } from "../../ffi/kvm.ts";
import { libc } from "../../ffi/libc.ts";

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
console.log(kvmAbsence() ?? "none");
