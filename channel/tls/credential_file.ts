/** Reading a file of TLS credentials: once, whole, and with a word about who else can read it. */

import { TlsError } from "../../ffi/tls/tls_error.ts";

/** Permissions of anybody but the file's owner. */
const OTHERS = 0o077;
/** More than any of these files has; a directory or device by mistake ends here. */
const LONGEST = 16 * 2 ** 20;

/** What is said about files that work but should not be as they are. */
export type Warn = (warning: string) => void;

/** What a program is told of a file that is not there; undefined: that it may be missing. */
export type Missing = string | undefined;

/**
 * Reads a file.
 *
 * @param missing what it is for and what to do when it is not there; undefined: it may be missing
 * @returns its bytes; undefined when it is not there and may be missing
 * @throws {TlsError} `BAD_CREDENTIALS`
 */
export function readCredentialFile(
  path: string,
  missing: Missing,
): Uint8Array<ArrayBuffer> | undefined {
  try {
    const { size, isFile } = Deno.statSync(path);
    if (!isFile || size > LONGEST) {
      throw new TlsError(
        "BAD_CREDENTIALS",
        `Not a file of TLS credentials, but ${
          isFile ? "longer than 16 MiB" : "a directory or device"
        }: ${path}: put the right file in its place`,
      );
    }
    return Deno.readFileSync(path);
  } catch (error) {
    if (error instanceof TlsError) throw error;
    if (error instanceof Deno.errors.NotFound && missing === undefined) return undefined;
    throw readError(path, error, missing);
  }
}

/** Reads a file with a secret in it, and warns when others can read that too. */
export function readSecretFile(
  path: string,
  missing: Missing,
  warn: Warn,
): Uint8Array<ArrayBuffer> | undefined {
  const bytes = readCredentialFile(path, missing);
  if (bytes === undefined) return undefined;
  const { mode } = Deno.statSync(path);
  if (mode !== null && (mode & OTHERS) !== 0) {
    const permissions = (mode & 0o777).toString(8);
    warn(`Secret key can be read by others: ${path} (mode ${permissions}): chmod 600 ${path}`);
  }
  return bytes;
}

function readError(path: string, error: unknown, missing: Missing): unknown {
  if (error instanceof Deno.errors.NotFound) {
    return new TlsError("BAD_CREDENTIALS", `No such file: ${path}: ${missing}`, { cause: error });
  }
  if (error instanceof Deno.errors.PermissionDenied) {
    return new TlsError(
      "BAD_CREDENTIALS",
      `TLS credentials cannot be read by this user: ${path}: give it to the user (uid ${Deno.uid()}) ` +
        "that runs this, or run this as its owner",
      { cause: error },
    );
  }
  return error;
}
