/** `--tls-creds DIR|FILE`: what an end has to show, and asks of the other. */

import { TlsContext, type TlsRole } from "../../ffi/tls/context.ts";
import { TlsError } from "../../ffi/tls/tls_error.ts";
import { readSecretFile, type Warn } from "./credential_file.ts";
import { clientKey, DEFAULT_USERNAME, parsePskFile } from "./psk_file.ts";
import { CA_CERTIFICATE, X509Files } from "./x509_files.ts";

/** The file of pre-shared keys in a directory. */
const PSK_FILE = "keys.psk";

/** How TLS is used. */
export interface CredentialsOptions {
  /** Whether the other end must show a certificate that holds; default true. */
  readonly verifyPeer?: boolean;
  /** Who may connect: names of which a client's certificate must have one; absent: whoever has a good one. */
  readonly authorized?: readonly string[];
  /** The identity by which a client goes that has pre-shared keys; default `qemu`. */
  readonly username?: string;
}

/**
 * Reads credentials, once: sessions are made from the context, whatever becomes of the files.
 *
 * @param path a directory with `ca-cert.pem` and its like, or with `keys.psk`; or a file of pre-shared keys
 * @param role server for who listens: in a migration the destination
 * @param warn told of files that work but should not be as they are
 * @returns the caller's to close
 * @throws {TlsError} naming the file and what to do about it
 */
export function loadCredentials(
  path: string,
  role: TlsRole,
  options: CredentialsOptions,
  warn: Warn,
): TlsContext {
  checkOptions(role, options);
  const file = pskFile(path);
  if (file !== undefined) return loadKeys(file, role, options, warn);
  if (options.username !== undefined) {
    throw new TlsError(
      "BAD_CREDENTIALS",
      `A user name goes with pre-shared keys, and there are certificates: ${path}: leave ` +
        "--tls-username out",
    );
  }
  const { verifyPeer = true, authorized } = options;
  using files = new X509Files(path, role, warn);
  return TlsContext.x509(
    role,
    files,
    authorized === undefined ? { verifyPeer } : { verifyPeer, authorized },
  );
}

/** What would be passed over silently would leave open what somebody meant to close. */
function checkOptions(
  role: TlsRole,
  { authorized, verifyPeer, username }: CredentialsOptions,
): void {
  if (authorized !== undefined && role === "client") {
    throw new TlsError(
      "BAD_CREDENTIALS",
      "--tls-authz says who may connect to this end, which connects itself: say with " +
        "--tls-hostname whom it should reach",
    );
  }
  if (authorized !== undefined && verifyPeer === false) {
    throw new TlsError(
      "BAD_CREDENTIALS",
      "Who is not checked cannot be told from others: leave out --tls-authz, or let the other end's " +
        "certificate be checked",
    );
  }
  if (username !== undefined && role === "server") {
    throw new TlsError(
      "BAD_CREDENTIALS",
      `A user name is said by the end that connects, and this one listens: ${username}: leave ` +
        "--tls-username out here",
    );
  }
}

/** The file of pre-shared keys that a path means; undefined: there are certificates. */
function pskFile(path: string): string | undefined {
  const kind = kindOf(path);
  if (kind === "file") return path;
  if (kind === undefined) {
    throw new TlsError(
      "BAD_CREDENTIALS",
      `No such directory or file: ${path}: give --tls-creds a directory with ${CA_CERTIFICATE} or ` +
        `${PSK_FILE}, or a file of pre-shared keys`,
    );
  }
  if (kindOf(`${path}/${CA_CERTIFICATE}`) !== undefined) return undefined;
  if (kindOf(`${path}/${PSK_FILE}`) !== undefined) return `${path}/${PSK_FILE}`;
  throw new TlsError(
    "BAD_CREDENTIALS",
    `Neither ${CA_CERTIFICATE} nor ${PSK_FILE} is in directory: ${path}: put the one there for ` +
      "certificates, the other for pre-shared keys",
  );
}

function kindOf(path: string): "file" | "directory" | undefined {
  try {
    return Deno.statSync(path).isDirectory ? "directory" : "file";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    if (!(error instanceof Deno.errors.PermissionDenied)) throw error;
    throw new TlsError(
      "BAD_CREDENTIALS",
      `TLS credentials cannot be looked at by this user: ${path}: give it to the user (uid ` +
        `${Deno.uid()}) that runs this`,
      { cause: error },
    );
  }
}

function loadKeys(
  path: string,
  role: TlsRole,
  { authorized, verifyPeer, username }: CredentialsOptions,
  warn: Warn,
): TlsContext {
  if (authorized !== undefined || verifyPeer === false) {
    throw new TlsError(
      "BAD_CREDENTIALS",
      `--tls-authz and not to check the other end go with certificates, and there are pre-shared ` +
        `keys: ${path}: whoever knows a key may connect, so take out the lines of who should not`,
    );
  }
  const bytes = readSecretFile(path, "it holds the pre-shared keys", warn)!;
  const keys = parsePskFile(bytes, path, warn);
  bytes.fill(0);
  if (role === "server") return TlsContext.psk(role, keys);
  return TlsContext.psk(role, [clientKey(keys, username ?? DEFAULT_USERNAME, path)]);
}
