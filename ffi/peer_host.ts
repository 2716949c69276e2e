/** Who is at the other end of a connection. */

import { libc } from "./libc.ts";
import { AddressFamily } from "./socket_address.ts";

/** sizeof(struct sockaddr_in6), the longer of the two. */
const SOCKADDR_BYTES = 28;
/** Where the address begins in struct sockaddr_in and _in6. */
const IPV4_OFFSET = 4;
const IPV6_OFFSET = 8;
const MAPPED_PREFIX = /^::ffff:([0-9a-f]+):([0-9a-f]+)$/;

/**
 * Returns the address of the host at the other end of a connection, without the port.
 *
 * @param fd a connected socket
 * @returns for example `"192.0.2.7"`; empty for a unix socket and for a connection that has broken
 */
export function peerHost(fd: number): string {
  const sockaddr = new Uint8Array(SOCKADDR_BYTES);
  const length = new Uint8Array(new Uint32Array([SOCKADDR_BYTES]).buffer);
  if (libc().getpeername(fd, sockaddr, length) < 0) return "";
  switch (sockaddr[0]) {
    case AddressFamily.INET:
      return sockaddr.subarray(IPV4_OFFSET, IPV4_OFFSET + 4).join(".");
    case AddressFamily.INET6:
      return ipv6Text(new DataView(sockaddr.buffer, IPV6_OFFSET, 16));
    default:
      return "";
  }
}

function ipv6Text(bytes: DataView): string {
  const groups = Array.from({ length: 8 }, (_, index) => bytes.getUint16(index * 2).toString(16));
  // The URL parser knows the short form.
  const text = new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
  if (!MAPPED_PREFIX.test(text)) return text;
  return [12, 13, 14, 15].map((at) => bytes.getUint8(at)).join(".");
}
