/** A connection as words of shared memory, from one thread to another that no message reaches. */

import type { ConnectionInit } from "./connection.ts";

/** Words of 32 bits that a connection takes: its socket, and where its TLS session is, 0 for none. */
export const CONNECTION_WORDS = 3;

/** Puts a connection, but for its head, into words. */
export function connectionWords({ fd, tls }: ConnectionInit): [number, number, number] {
  const address = tls?.address ?? 0;
  return [fd, address | 0, Math.floor(address / 2 ** 32)];
}

/**
 * Makes a connection of words; a TLS session is one that listened for its peer, and has shaken hands.
 *
 * @param peer the other end, for messages
 */
export function connectionOf(fd: number, low: number, high: number, peer: string): ConnectionInit {
  const address = high * 2 ** 32 + (low >>> 0);
  return address === 0 ? { fd } : { fd, tls: { address, fd, role: "server", peer } };
}
