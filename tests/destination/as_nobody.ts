// deno-lint-ignore-file no-console -- a command
/**
 * Child process: a destination of the user nobody, whose userfaultfd takes faults of user mode only.
 * Prints, as JSON lines, where it listens and what came of it. Argument: how its memory is backed.
 *
 * @module
 */

import { Destination } from "../../client/destination.ts";
import { libc } from "../../ffi/libc.ts";
import { type Backing, viewMemory } from "../../ffi/memory.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";

/** What it prints. */
export type AsNobody =
  | { readonly port: number; readonly userModeOnly: boolean }
  | { readonly uid: number; readonly sha256: string };

libc();
const privileges = Deno.dlopen("libc.so.6", {
  setgroups: { parameters: ["usize", "pointer"], result: "i32" },
  setresgid: { parameters: ["u32", "u32", "u32"], result: "i32" },
  setresuid: { parameters: ["u32", "u32", "u32"], result: "i32" },
});
privileges.symbols.setgroups(0n, null);
privileges.symbols.setresgid(65534, 65534, 65534);
privileges.symbols.setresuid(65534, 65534, 65534);

function say(line: AsNobody): void {
  console.log(JSON.stringify(line));
}

const guest = new StillGuest();
const destination = new Destination({ guest, backing: Deno.args[0] as Backing });
const address = await destination.listen(LOOPBACK);
if (address.transport !== "tcp") throw new Error("No TCP address");
say({ port: address.port, userModeOnly: destination.userModeOnly });
await destination.finished;
// Its digest reads the memory in a system call of its own, or not at all.
const [block] = guest.blocks;
const bytes = viewMemory(block!.address, block!.length);
const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
say({ uid: Deno.uid()!, sha256: digest.toHex() });
await destination.close();
Deno.exit(0);
