/** The certificate of the TCP side, and its key. */

import type { TcpConfig } from "../config/config.ts";
import { DaemonError } from "../service/daemon_error.ts";

/** Both files' names. */
type CertificateFiles = NonNullable<TcpConfig["tls"]>;

/**
 * Reads them.
 *
 * @returns their text
 * @throws {DaemonError} naming the file that cannot be read
 */
export async function readCertificate(
  { cert, key }: CertificateFiles,
): Promise<Deno.TlsCertifiedKeyPem> {
  return { cert: await readPem("cert", cert), key: await readPem("key", key) };
}

/**
 * Sees that both can be used, and belong together, as listening would.
 *
 * @throws {DaemonError} when they cannot
 */
export async function checkCertificate(files: CertificateFiles): Promise<void> {
  const pem = await readCertificate(files);
  try {
    // At a port that nobody knows of, and for no time: what Deno looks at, it looks at here.
    Deno.listenTls({ hostname: "127.0.0.1", port: 0, ...pem }).close();
  } catch (error) {
    throw new DaemonError(
      `Cannot be used for TLS: ${files.cert} and ${files.key}: ${
        (error as Error).message
      }: see api.tcp.tls: ` +
        "cert and key must be PEM files that belong together",
    );
  }
}

async function readPem(name: keyof CertificateFiles, path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    throw new DaemonError(
      `File of api.tcp.tls.${name} cannot be read: ${path}: ${
        (error as Error).message
      }: name another, or let ` +
        "the user read it that the daemon runs as",
    );
  }
}
