/** What a start looks at, looked at before: a daemon that is started anew must not stay away. */

import { accessSync, constants } from "node:fs";
import { readToken } from "../api/access.ts";
import { checkCertificate } from "../api/certificate.ts";
import { groupNumber } from "../api/unix_socket.ts";
import type { DaemonConfig } from "../config/config.ts";
import { DaemonError } from "../service/daemon_error.ts";
import { missingDirectories } from "../service/required_directories.ts";

/** Where directories come and go with a service that systemd starts. */
const RUNTIME = /^(\/var)?\/run\//;

/**
 * Sees what a start would miss, and changes nothing. It runs beside a daemon: neither its addresses nor its lock are
 * touched.
 *
 * @returns what may be right, and is to be known, a sentence each
 * @throws {DaemonError} naming all that is missing, a line each
 */
export async function checkStart(config: DaemonConfig): Promise<string[]> {
  const { api: { group, tcp }, stateDirectory } = config;
  const tls = tcp?.tls;
  const problems: string[] = [];
  const notes: string[] = [];
  const look = async (what: () => unknown): Promise<void> => {
    try {
      await what();
    } catch (error) {
      if (!(error instanceof DaemonError)) throw error;
      problems.push(error.message);
    }
  };
  await look(() => requireWritable(stateDirectory));
  for (const { path, message } of await missingDirectories(config)) {
    // Before the first start, and while the service stands still, they are rightly not there.
    if (RUNTIME.test(path)) {
      notes.push(`Not there yet: ${path}: systemd makes it (RuntimeDirectory=)`);
    } else problems.push(message);
  }
  if (group !== undefined) await look(() => groupNumber(group));
  if (tls !== undefined) await look(() => checkCertificate(tls));
  if (tcp !== undefined) await look(() => readToken(tcp.tokenFile));
  if (problems.length > 0) throw new DaemonError(problems.join("\n"));
  return notes;
}

/** One that is not there is made by the start, or by systemd before it. */
function requireWritable(stateDirectory: string): void {
  try {
    accessSync(stateDirectory, constants.W_OK | constants.X_OK);
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return;
    throw new DaemonError(
      `State directory cannot be written to: ${stateDirectory}: give it to the user that the daemon runs as, or ` +
        "name another as stateDirectory",
    );
  }
}
