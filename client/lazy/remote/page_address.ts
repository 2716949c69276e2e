/** `tcp:HOST:PORT/NAME`: an image at a server. */

import {
  formatSocketAddress,
  parseSocketAddress,
  type SocketAddress,
} from "../../../ffi/socket_address.ts";

/** Where an image is served, and under which name. */
export interface PageAddress {
  readonly server: SocketAddress;
  readonly name: string;
}

/**
 * Reads the address of an image: that of its server, a slash, and its name; `unix:PATH/NAME` where the name is
 * what stands behind the last slash.
 *
 * @throws {SocketAddressError} for an address that cannot be
 * @throws {RangeError} when there is no name
 */
export function parsePageAddress(text: string): PageAddress {
  const at = text.startsWith("unix:") ? text.lastIndexOf("/") : text.indexOf("/");
  const name = at < 0 ? "" : text.slice(at + 1);
  const bytes = new TextEncoder().encode(name).length;
  if (bytes > 0 && bytes <= 255) return { server: parseSocketAddress(text.slice(0, at)), name };
  throw new RangeError(
    `No image of 1 to 255 bytes named behind the server: ${text}: write tcp:HOST:PORT/NAME`,
  );
}

/** Writes an address as {@linkcode parsePageAddress} reads it. */
export function formatPageAddress({ server, name }: PageAddress): string {
  return `${formatSocketAddress(server)}/${name}`;
}
