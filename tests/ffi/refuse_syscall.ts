/** A seccomp filter that refuses a system call, as containers and services have. */

import { libc } from "../../ffi/libc.ts";

// From include/uapi/linux/{prctl,seccomp,filter,bpf_common}.h.
const PR_SET_SECCOMP = 22;
const PR_SET_NO_NEW_PRIVS = 38;
const SECCOMP_MODE_FILTER = 2n;
const LOAD_WORD = 0x20;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;
const ALLOW = 0x7fff_0000;
const RETURN_ERRNO = 0x0005_0000;

/** struct sock_filter { u16 code; u8 jt, jf; u32 k; } */
function instructions(...list: readonly (readonly [number, number, number, number])[]) {
  const bytes = new Uint8Array(list.length * 8);
  const view = new DataView(bytes.buffer);
  list.forEach(([operation, yes, no, value], index) => {
    view.setUint16(index * 8, operation, true);
    view.setUint8(index * 8 + 2, yes);
    view.setUint8(index * 8 + 3, no);
    view.setUint32(index * 8 + 4, value, true);
  });
  return bytes;
}

/**
 * Has a system call fail from here on, for this thread and those that it starts.
 *
 * @param call its number
 * @param code the errno
 */
export function refuseSyscall(call: number, code: number): void {
  const filter = instructions(
    [LOAD_WORD, 0, 0, 0],
    [JUMP_IF_EQUAL, 0, 1, call],
    [RETURN, 0, 0, RETURN_ERRNO | code],
    [RETURN, 0, 0, ALLOW],
  );
  // struct sock_fprog { u16 length; struct sock_filter *filter; }
  const program = new BigUint64Array([
    BigInt(filter.length / 8),
    Deno.UnsafePointer.value(Deno.UnsafePointer.of(filter)),
  ]);
  const address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(program));
  libc().prctl(PR_SET_NO_NEW_PRIVS, 1n, 0n, 0n, 0n);
  if (libc().prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, address, 0n, 0n) !== 0) {
    throw new Error("No filter can be set here");
  }
}
