/** Socket addresses as QEMU's migration URIs write them, and as the kernel takes them. */

import { lookup } from "node:dns/promises";
import { isIP } from "node:net";

/** Where a migration stream goes: `tcp:HOST:PORT` or `unix:PATH`. */
export type SocketAddress =
  | { readonly transport: "tcp"; readonly host: string; readonly port: number }
  | { readonly transport: "unix"; readonly path: string };

/** Address families, from include/linux/socket.h. */
export const AddressFamily = { UNIX: 1, INET: 2, INET6: 10 } as const;

/** sizeof(sun_path), from include/uapi/linux/un.h. */
const UNIX_PATH_MAX = 108;

/** Thrown for an address that cannot be read or resolved. */
export class SocketAddressError extends Error {
  /** The class's name. */
  override readonly name = "SocketAddressError";
  /** Machine-readable reason. */
  readonly code: "BAD_ADDRESS" | "UNKNOWN_HOST";

  /**
   * Makes the error.
   *
   * @param code what kind of failure this is
   */
  constructor(code: "BAD_ADDRESS" | "UNKNOWN_HOST", message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * Reads an address in the form of a QEMU migration URI.
 *
 * @param uri `tcp:HOST:PORT`, with an IPv6 host in brackets, or `unix:PATH`
 * @throws {SocketAddressError} for anything else
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { parseSocketAddress } from "./socket_address.ts";
 *
 * assertEquals(parseSocketAddress("tcp:[::1]:4444"), { transport: "tcp", host: "::1", port: 4444 });
 * ```
 */
export function parseSocketAddress(uri: string): SocketAddress {
  const tcp = /^tcp:(?:\[([^\]]+)\]|([^:]*)):(\d+)$/.exec(uri);
  if (tcp !== null) {
    const port = Number(tcp[3]);
    if (port > 65535) {
      throw new SocketAddressError("BAD_ADDRESS", `Port above 65535: ${uri}`);
    }
    // QEMU takes an empty host for any address.
    return { transport: "tcp", host: tcp[1] ?? (tcp[2] || "0.0.0.0"), port };
  }
  const unix = /^unix:(.+)$/.exec(uri);
  if (unix !== null) {
    const path = unix[1]!;
    if (new TextEncoder().encode(path).length >= UNIX_PATH_MAX) {
      throw new SocketAddressError("BAD_ADDRESS", `Socket path longer than 107 bytes: ${path}`);
    }
    return { transport: "unix", path };
  }
  throw new SocketAddressError(
    "BAD_ADDRESS",
    `Unknown address: ${uri}: write tcp:HOST:PORT or unix:PATH`,
  );
}

/** Writes an address as {@linkcode parseSocketAddress} reads it. */
export function formatSocketAddress(address: SocketAddress): string {
  if (address.transport === "unix") return `unix:${address.path}`;
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  return `tcp:${host}:${address.port}`;
}

/** An address in the kernel's form. */
export interface Sockaddr {
  /** One of {@linkcode AddressFamily}. */
  readonly family: number;
  /** The `struct sockaddr_*`. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/**
 * Resolves an address and lays it out as the kernel's `struct sockaddr_in`, `_in6` or `_un`.
 *
 * @throws {SocketAddressError} when the host is unknown
 */
export async function resolveSocketAddress(address: SocketAddress): Promise<Sockaddr> {
  if (address.transport === "unix") {
    const path = new TextEncoder().encode(address.path);
    const bytes = new Uint8Array(2 + path.length + 1);
    new DataView(bytes.buffer).setUint16(0, AddressFamily.UNIX, true);
    bytes.set(path, 2);
    return { family: AddressFamily.UNIX, bytes };
  }
  const found = await lookUpHost(address.host);
  return found.family === 6
    ? ipv6Sockaddr(found.address, address.port)
    : ipv4Sockaddr(found.address, address.port);
}

async function lookUpHost(host: string): Promise<{ address: string; family: number }> {
  const family = isIP(host);
  if (family !== 0) return { address: host, family };
  // The lookup itself would say no more than that there is no such host.
  if (Deno.permissions.querySync({ name: "net", host }).state !== "granted") {
    throw new Deno.errors.NotCapable(
      `Requires net access to look up "${host}", run again with --allow-net, or write its address`,
    );
  }
  try {
    return await lookup(host);
  } catch (cause) {
    throw new SocketAddressError("UNKNOWN_HOST", `Unknown host: ${host}: check the name`, {
      cause,
    });
  }
}

function ipv4Sockaddr(host: string, port: number): Sockaddr {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AddressFamily.INET, true);
  view.setUint16(2, port);
  host.split(".").forEach((part, index) => bytes[4 + index] = Number(part));
  return { family: AddressFamily.INET, bytes };
}

function ipv6Sockaddr(host: string, port: number): Sockaddr {
  const bytes = new Uint8Array(28);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AddressFamily.INET6, true);
  view.setUint16(2, port);
  // The URL parser knows every short form of an IPv6 address and writes groups in hex.
  const [head = "", tail] = new URL(`http://[${host.split("%")[0]}]`).hostname.slice(1, -1).split(
    "::",
  );
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  left.forEach((group, index) => view.setUint16(8 + index * 2, parseInt(group, 16)));
  right.forEach((group, index) =>
    view.setUint16(8 + (8 - right.length + index) * 2, parseInt(group, 16))
  );
  return { family: AddressFamily.INET6, bytes };
}
