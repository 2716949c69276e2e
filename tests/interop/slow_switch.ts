/** A QEMU that is told to switch to postcopy, and sends so slowly that most of its guest is left. */

import { formatSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import { setCapabilities, setParameters } from "../../qemu/migration.ts";
import type { Qemu } from "../../qemu/qemu.ts";

/**
 * Bytes/s. QEMU shares them out in windows of 100 ms, and looks whether to switch when one is used up:
 * after three pages, or after one huge page, for it never leaves one half sent. At a higher rate a
 * huge page may fit into what is left of a window, and QEMU looks next after 64 of them, which may be
 * all that the guest has. At this rate precopy takes minutes if nobody says to switch, and postcopy if
 * nobody asks for a page.
 */
const SLOW = 128 << 10;

/**
 * Has a stopped QEMU migrate by postcopy.
 *
 * @param preempt with a channel of its own for requested pages
 * @returns how many QMP events there were before
 */
export async function switchSlowly(
  qemu: Qemu,
  to: SocketAddress,
  preempt: boolean,
): Promise<number> {
  await setCapabilities(qemu, { "postcopy-ram": true, "postcopy-preempt": preempt });
  await setParameters(qemu, { "max-bandwidth": SLOW, "max-postcopy-bandwidth": SLOW });
  const since = qemu.qmp.events.items.length;
  await qemu.execute("migrate", { uri: formatSocketAddress(to) });
  await qemu.execute("migrate-start-postcopy");
  return since;
}

/** Lets it send as fast as it can from now on. */
export async function hurry(qemu: Qemu): Promise<void> {
  await setParameters(qemu, { "max-postcopy-bandwidth": 0 });
}
