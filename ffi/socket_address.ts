/** Socket addresses as QEMU's migration URIs write them, and as the kernel takes them. */

import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { cString, libc } from "./libc.ts";

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
 * @param uri `tcp:HOST:PORT`, with an IPv6 host in brackets (`tcp:[fe80::1%eth0]:4444` for one that is of an
 * interface), or `unix:PATH`
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
  /** The same for people: without a name. */
  readonly address: SocketAddress;
}

/**
 * Resolves an address and lays it out as the kernel's `struct sockaddr_in`, `_in6` or `_un`.
 *
 * @returns at least one; several for a host name with several addresses, in the resolver's order
 * @throws {SocketAddressError} when the host or the interface is unknown
 */
export async function resolveSocketAddresses(
  address: SocketAddress,
): Promise<readonly Sockaddr[]> {
  if (address.transport === "unix") {
    const path = new TextEncoder().encode(address.path);
    const bytes = new Uint8Array(2 + path.length + 1);
    new DataView(bytes.buffer).setUint16(0, AddressFamily.UNIX, true);
    bytes.set(path, 2);
    return [{ family: AddressFamily.UNIX, bytes, address }];
  }
  const found = await lookUpHost(address.host);
  return found.map(({ address: host, family }) =>
    family === 6 ? ipv6Sockaddr(host, address.port) : ipv4Sockaddr(host, address.port)
  );
}

async function lookUpHost(
  host: string,
): Promise<readonly { readonly address: string; readonly family: number }[]> {
  const family = isIP(host);
  if (family !== 0) return [{ address: host, family }];
  // The lookup itself would say no more than that there is no such host.
  if (Deno.permissions.querySync({ name: "net", host }).state !== "granted") {
    throw new Deno.errors.NotCapable(
      `Requires net access to look up "${host}", run again with --allow-net, or write its address`,
    );
  }
  try {
    const found = await lookup(host, { all: true });
    const known = new Set<string>();
    return found.filter(({ address }) => !known.has(address) && known.add(address));
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
  return { family: AddressFamily.INET, bytes, address: { transport: "tcp", host, port } };
}

function ipv6Sockaddr(host: string, port: number): Sockaddr {
  const bytes = new Uint8Array(28);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AddressFamily.INET6, true);
  view.setUint16(2, port);
  // The URL parser knows every short form of an IPv6 address and writes groups in hex.
  const [numbers = "", scope] = host.split("%");
  const [head = "", tail] = new URL(`http://[${numbers}]`).hostname.slice(1, -1).split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  left.forEach((group, index) => view.setUint16(8 + index * 2, parseInt(group, 16)));
  right.forEach((group, index) =>
    view.setUint16(8 + (8 - right.length + index) * 2, parseInt(group, 16))
  );
  if (scope !== undefined) view.setUint32(24, interfaceIndex(scope, host), true);
  return { family: AddressFamily.INET6, bytes, address: { transport: "tcp", host, port } };
}

/** The number of a network interface, which may be given by number too. */
function interfaceIndex(scope: string, host: string): number {
  if (/^\d{1,9}$/.test(scope)) return Number(scope);
  const index = libc().if_nametoindex(cString(scope));
  if (index !== 0) return index;
  throw new SocketAddressError(
    "UNKNOWN_HOST",
    `Unknown network interface: ${scope}: of ${host}: \`ip link\` lists those of this host`,
  );
}
