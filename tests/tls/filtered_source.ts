// deno-lint-ignore-file no-console -- a command
/**
 * Child process: has a seccomp filter refuse process_vm_writev, as containers and services do, and prints, as
 * JSON, what comes of a source that encrypts, of one that compresses, and of pages that are sent where it is
 * refused later.
 *
 * ```sh
 * deno run -A tests/tls/filtered_source.ts IMAGE KEYS
 * ```
 *
 * @module
 */

import { SendingEnd } from "../../channel/sending_end.ts";
import { TO_DESTINATION } from "../../channel/role.ts";
import { Errno } from "../../ffi/errno.ts";
import { Gather } from "../../ffi/gather.ts";
import { addressOf } from "../../ffi/memory.ts";
import { TlsContext } from "../../ffi/tls/context.ts";
import { openImage } from "../../image/open_image.ts";
import { Source } from "../../server/source.ts";
import { refuseSyscall } from "../ffi/refuse_syscall.ts";
import { Ends } from "./ends.ts";

/** What was told. */
export interface FilteredSource {
  readonly begun: string;
  readonly compressing: string;
  readonly later: string;
}

/** From Linux arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h. */
const PROCESS_VM_WRITEV = Deno.build.arch === "x86_64" ? 311 : 271;

function failureOf(body: () => unknown): string {
  try {
    body();
    return "";
  } catch (error) {
    return (error as Error).message;
  }
}

const [path, credentials] = Deno.args as [string, string];
using image = await openImage(path);
const keys = [{ identity: "qemu", key: new Uint8Array(32).fill(7) }];
using clients = TlsContext.psk("client", keys);
using servers = TlsContext.psk("server", keys);
using ends = await Ends.connect(clients, servers);
ends.open();
const { init } = ends.client;
const sending = new SendingEnd({ fd: init.fd, tls: init }, TO_DESTINATION.MAIN);
const page = new Uint8Array(4096);
const gather = new Gather(1);
gather.add(addressOf(page), page.length);

refuseSyscall(PROCESS_VM_WRITEV, Errno.EPERM);

const to = { transport: "tcp", host: "127.0.0.1", port: 9 } as const;
const told: FilteredSource = {
  begun: failureOf(() => new Source(image, { to, tls: { credentials } })),
  compressing: failureOf(() =>
    new Source(image, { to, multifd: { channels: 1, compression: "zlib" } })
  ),
  later: failureOf(() => sending.trySend(gather)),
};
console.log(JSON.stringify(told));
