/** Where the daemon listens for its interface, as a user writes it. */

import { UsageError } from "../../migration/command/arguments.ts";

/** Where a daemon listens when nothing else is said: what contrib/systemd and the defaults of its file have. */
export const DEFAULT_SOCKET = "/run/postcopy/daemon.sock";

/** Where a daemon listens. */
export type DaemonAddress =
  | { readonly transport: "unix"; readonly path: string }
  /** Without TLS who is on the way hears the token, and all that is said. */
  | {
    readonly transport: "tcp";
    readonly host: string;
    readonly port: number;
    readonly tls: boolean;
  };

/**
 * Reads an address.
 *
 * @param text `unix:PATH`, `tcp:HOST:PORT` or `https://HOST:PORT` (both with TLS), or `http://HOST:PORT`
 * @throws {UsageError} for anything else
 */
export function parseDaemonAddress(text: string): DaemonAddress {
  const unix = /^unix:(?:\/\/)?(\/.+|[^/].*)$/.exec(text)?.[1] ??
    (text.startsWith("/") ? text : "");
  if (unix !== "") return { transport: "unix", path: unix };
  const [, scheme, host, port] =
    /^(?:(tcp:|https:\/\/|http:\/\/))((?:\[[^\]]+\])|[^:/\s]+):(\d{1,5})\/?$/.exec(text) ?? [];
  if (scheme !== undefined && Number(port) <= 65_535) {
    return {
      transport: "tcp",
      host: host!.replace(/^\[|\]$/g, ""),
      port: Number(port),
      tls: scheme !== "http://",
    };
  }
  throw new UsageError(
    `Unknown address of a daemon: ${text}: write unix:PATH, https://HOST:PORT, or http://HOST:PORT for one ` +
      "without TLS",
  );
}

/** Writes an address as {@linkcode parseDaemonAddress} reads it. */
export function formatDaemonAddress(address: DaemonAddress): string {
  return address.transport === "unix" ? `unix:${address.path}` : originOf(address);
}

/** What stands before the path of a URL. */
export function originOf(address: DaemonAddress): string {
  if (address.transport === "unix") return "http://localhost"; // nobody looks it up
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  return `${address.tls ? "https" : "http"}://${host}:${address.port}`;
}
