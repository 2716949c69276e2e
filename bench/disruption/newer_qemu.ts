/** A newer QEMU than the machine's own, where there is one already. */

import { cache } from "../../tools/cache.ts";
import { PeerQemu } from "../../tools/peers.ts";

/**
 * Finds the QEMU in the tree that `deno task test:peers` makes.
 *
 * @returns undefined when there is none, this user could not use it, or another is named in `QEMU_SYSTEM`
 */
export function newerQemu(tree: URL = new URL("trixie/", cache)): PeerQemu | undefined {
  if ((Deno.env.get("QEMU_SYSTEM") ?? "") !== "" || Deno.uid() !== 0) return undefined;
  try {
    Deno.statSync(new URL("usr/bin/qemu-system-x86_64", tree));
  } catch {
    return undefined;
  }
  return new PeerQemu(tree.pathname.replace(/\/$/, ""));
}
