/** Loading what the daemon does, which needs packages of npm, when it is to be done and not before. */

import { DaemonError } from "../service/daemon_error.ts";

/** What the command `daemon` does. */
export interface DaemonWork {
  /**
   * Sees whether a daemon could start, and changes nothing.
   *
   * @param path of its configuration
   * @returns what is to be known besides, a sentence each
   * @throws {ConfigError} for a configuration that cannot be used
   * @throws {DaemonError} when a start would find something missing
   */
  check(path: string): Promise<readonly string[]>;
  /**
   * Runs a daemon until it is told to end, and no guest needs it any more.
   *
   * @param path of its configuration
   * @returns whether it was cut off although a guest needed it
   */
  run(path: string): Promise<"drained" | "cut">;
}

/** Put together here, where Deno does not see it: no other command, and no help, waits for packages of npm. */
const MODULE = ["daemon", "work.ts"].join("_");

/**
 * Loads it; Deno fetches packages that are not in its cache yet.
 *
 * @throws {DaemonError} when they are neither there nor within reach
 */
export async function loadDaemon(): Promise<DaemonWork> {
  try {
    return (await import(new URL(MODULE, import.meta.url).href) as { WORK: DaemonWork }).WORK;
  } catch (error) {
    throw ofPackages(error);
  }
}

/** Says what to do about a package that cannot be had; other errors, mistakes of this program, stay as they are. */
function ofPackages(error: unknown): unknown {
  if (!(error instanceof TypeError) || /^Module not found/.test(error.message)) return error;
  if (!/\bnpm\b|\bpackage\b/.test(error.message)) return error;
  const [url] = /https?:\/\/[^\s"()]+/.exec(error.message) ?? [];
  const registry = url === undefined ? "https://registry.npmjs.org" : new URL(url).origin;
  const why = error.message.split("\n").map((line) => line.trim().replace(/^\d+: /, "")).join(": ");
  // Each user has a cache of his own, and a service may have another than its user.
  const cache = Deno.env.get("DENO_DIR");
  // Deno trusts a list of its own unless it is told otherwise, which leaves out that of many a company.
  const untrusted = /certificate/i.test(error.message);
  const variables = (cache === undefined ? "" : `DENO_DIR=${cache} `) +
    (untrusted ? "DENO_TLS_CA_STORE=system " : "");
  const trusting = untrusted ? ", which trusts the authorities that this host trusts" : "";
  return new DaemonError(
    `Packages that the daemon needs are not in Deno's cache, and cannot be had from the registry of npm, ` +
      `${registry}: with a network (HTTPS_PROXY names a proxy), and as the user that the daemon runs as, run once: ` +
      `${variables}postcopy daemon --check${trusting}: it keeps them for every start: ${why}`,
    { cause: error },
  );
}
