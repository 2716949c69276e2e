/** What a QEMU says of its migration (`query-migrate`), as far as it is used here. The names are QEMU's. */

import type { SocketAddress } from "../../ffi/socket_address.ts";
import { formatCount, formatDuration } from "../../migration/report/units.ts";

/** The answer to `query-migrate`. */
export interface MigrationInfo {
  /** QEMU's MigrationStatus; absent before there is a migration. */
  readonly status?: string;
  readonly "error-desc"?: string;
  /** Where a destination listens. */
  readonly "socket-address"?: readonly QemuAddress[];
  /** Milliseconds for which all processors waited for pages; with the capability postcopy-blocktime. */
  readonly "postcopy-blocktime"?: number;
  /** Nanoseconds that a fault took, mean; QEMU 10.1 and later. */
  readonly "postcopy-latency"?: number;
  /** Milliseconds. */
  readonly "total-time"?: number;
  /** Milliseconds. */
  readonly downtime?: number;
  /** At a source. */
  readonly ram?: { readonly transferred: number; readonly "dirty-sync-count"?: number };
}

/** A SocketAddress of QEMU's. */
interface QemuAddress {
  readonly type: string;
  readonly host?: string;
  readonly port?: string;
  readonly path?: string;
}

/** Where a QEMU says that it listens for a migration; undefined when it does not, or on no socket. */
export function listeningAt(info: MigrationInfo): SocketAddress | undefined {
  const { type, host, port, path } = info["socket-address"]?.[0] ?? {};
  if (type === "unix" && path !== undefined) return { transport: "unix", path };
  if (type !== "inet" || host === undefined || port === undefined) return undefined;
  return { transport: "tcp", host, port: Number(port) };
}

/** Tells what a destination says of a migration at its end. */
export function destinationText(info: MigrationInfo): string {
  const { status = "nothing", "error-desc": reason } = info;
  const blocked = info["postcopy-blocktime"];
  const latency = info["postcopy-latency"];
  return [
    `QEMU says: ${status}${reason === undefined ? "" : `: ${reason}`}`,
    ...blocked === undefined
      ? []
      : [`all its processors waited ${formatCount(blocked)} ms for pages`],
    ...latency === undefined ? [] : [`${formatDuration(latency)} a fault`],
  ].join(", ");
}
