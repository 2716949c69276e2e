/** `keys.psk`: lines `identity:hexkey`, as psktool and QEMU have them. */

import type { PreSharedKey } from "../../ffi/tls/context.ts";
import { TlsError } from "../../ffi/tls/tls_error.ts";
import type { Warn } from "./credential_file.ts";

/** What a QEMU that connects goes by, unless it is told otherwise. */
export const DEFAULT_USERNAME = "qemu";

/** Bytes of a key that nobody finds by trying. psktool makes 32. */
const SHORTEST = 16;
/** PSK_MAX_PSK_LEN of OpenSSL 3.0. */
const LONGEST = 256;
/** PSK_MAX_IDENTITY_LEN of OpenSSL 3.0. */
const LONGEST_IDENTITY = 128;

/**
 * Reads the lines of a file. An identity that begins with `#` is written in hexadecimal; other lines that
 * begin so are comments. Of several keys of one identity the first holds.
 *
 * @param path for messages, in which no key is ever shown
 * @throws {TlsError} `BAD_CREDENTIALS` with the number of a line that is none
 */
export function parsePskFile(bytes: Uint8Array, path: string, warn: Warn): PreSharedKey[] {
  const keys: PreSharedKey[] = [];
  const lines = new TextDecoder().decode(bytes).split("\n");
  for (const [index, raw] of lines.entries()) {
    const line = raw.trimEnd();
    const at = line.lastIndexOf(":");
    if (line === "" || line.startsWith("#") && !/^#(?:[0-9a-f]{2})+:/i.test(line)) continue;
    if (line.startsWith("-----BEGIN ")) throw certificateFile(path);
    const where = `line ${index + 1} of ${path}`;
    if (at <= 0) throw badLine(where, "it should be IDENTITY:KEY, with the key in hexadecimal");
    const identity = readIdentity(line.slice(0, at));
    const key = fromHex(line.slice(at + 1));
    if (key === undefined || key.length === 0) {
      throw badLine(
        where,
        "what follows the last colon should be a key in hexadecimal, two digits a byte",
      );
    }
    if (key.length > LONGEST) throw badLine(where, `the key is longer than ${LONGEST} bytes`);
    if (new TextEncoder().encode(identity).length > LONGEST_IDENTITY) {
      throw badLine(where, `the identity is longer than ${LONGEST_IDENTITY} bytes`);
    }
    if (key.length < SHORTEST) {
      warn(
        `Pre-shared key can be found by trying, with ${key.length} bytes: ${where}: make one of 32`,
      );
    }
    if (!keys.some((known) => known.identity === identity)) keys.push({ identity, key });
  }
  if (keys.length > 0) return keys;
  throw new TlsError(
    "BAD_CREDENTIALS",
    `No pre-shared key in file: ${path}: add a line IDENTITY:KEY (echo qemu:$(openssl rand -hex 32))`,
  );
}

/** Picks the key that a client uses. */
export function clientKey(
  keys: readonly PreSharedKey[],
  username: string,
  path: string,
): PreSharedKey {
  const found = keys.find(({ identity }) => identity === username);
  if (found !== undefined) return found;
  const known = keys.slice(0, 10).map(({ identity }) => identity).join(", ");
  throw new TlsError(
    "BAD_CREDENTIALS",
    `No key for identity in ${path}: ${username}: choose one of its own with --tls-username: ${known}`,
  );
}

function readIdentity(text: string): string {
  if (!text.startsWith("#")) return text;
  return new TextDecoder().decode(fromHex(text.slice(1)));
}

function fromHex(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (text.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(text)) return undefined;
  const bytes = new Uint8Array(text.length / 2);
  for (let at = 0; at < bytes.length; at++) {
    bytes[at] = parseInt(text.slice(at * 2, at * 2 + 2), 16);
  }
  return bytes;
}

function certificateFile(path: string): TlsError {
  return new TlsError(
    "BAD_CREDENTIALS",
    `A file of certificates or keys in PEM, where pre-shared keys were looked for: ${path}: give ` +
      "--tls-creds the directory with ca-cert.pem",
  );
}

function badLine(where: string, what: string): TlsError {
  return new TlsError("BAD_CREDENTIALS", `Pre-shared key cannot be read: ${where}: ${what}`);
}
