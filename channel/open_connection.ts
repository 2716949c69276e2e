/** A connection as its plain data says: in clear, or through a TLS session. */

import { RECORD_BYTES } from "../ffi/tls/session.ts";
import { Connection, type ConnectionInit } from "./connection.ts";
import { TlsConnection } from "./tls/tls_connection.ts";

/**
 * Bytes of input for a reader of a connection: through TLS there must be room for a whole record behind what
 * is left of an element.
 *
 * @param bytes that would do in clear
 */
export function inputBytes({ tls }: ConnectionInit, bytes: number): number {
  return tls === undefined ? bytes : bytes + RECORD_BYTES;
}

/** Makes this thread's own use of a connection. */
export function openConnection({ fd, tls }: ConnectionInit): Connection {
  return tls === undefined ? new Connection(fd) : new TlsConnection(tls);
}
