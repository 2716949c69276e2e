/** What a QEMU calls the socket of its own monitor. */

import type { SocketAddress } from "../../ffi/socket_address.ts";
import type { Monitor } from "./monitor.ts";
import { MonitorError } from "./monitor_error.ts";

/** Both names of a monitor's socket. */
export interface MonitorPath {
  /** For this process. */
  readonly ours: string;
  /** For QEMU. */
  readonly theirs: string;
}

/**
 * Asks a QEMU what it calls the socket by which it is spoken to: one whose root directory is another (chroot, a
 * container) sees another path.
 *
 * @param path of the socket, for this process
 */
export async function monitorPath(monitor: Monitor, path: string): Promise<MonitorPath> {
  const ours = path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
  const name = ours.slice(ours.lastIndexOf("/") + 1);
  const found = new Set<string>();
  try {
    for (const { filename } of await monitor.execute<{ filename: string }[]>("query-chardev")) {
      const [, theirs] = /^(?:disconnected:)?unix:(\/.+),server(?:=on)?\b/.exec(filename) ?? [];
      if (theirs?.slice(theirs.lastIndexOf("/") + 1) === name) found.add(theirs);
    }
  } catch (error) {
    if (!(error instanceof MonitorError && error.code === "REFUSED")) throw error;
  }
  // Of several of that name nobody knows which it is, unless one is this.
  const [theirs, other] = found;
  return { ours, theirs: other !== undefined || theirs === undefined ? ours : theirs };
}

/** A path of a QEMU as it is here: they differ as those of its monitor do. */
export function pathHere(theirs: string, monitor: MonitorPath): string {
  const difference = monitor.ours.length - monitor.theirs.length;
  if (difference <= 0 || !monitor.ours.endsWith(monitor.theirs)) return theirs;
  return monitor.ours.slice(0, difference) + theirs;
}

/** {@linkcode pathHere} for an address. */
export function addressHere(
  theirs: SocketAddress,
  monitor: MonitorPath | undefined,
): SocketAddress {
  if (theirs.transport !== "unix" || monitor === undefined) return theirs;
  return { transport: "unix", path: pathHere(theirs.path, monitor) };
}
