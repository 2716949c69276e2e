/** Snapshots compared between processes. */

import type { MachineSnapshot } from "../../workload/machine/snapshot.ts";

/** Returns the SHA-256 of a snapshot, hexadecimal. */
export async function digest(snapshot: MachineSnapshot): Promise<string> {
  const bytes = new TextEncoder().encode(JSON.stringify(snapshot));
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}
