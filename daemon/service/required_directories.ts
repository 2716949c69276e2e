/** Directories that the configuration names, and that must be there. */

import type { DaemonConfig } from "../config/config.ts";
import { DaemonError } from "./daemon_error.ts";

/** A directory that is not there. */
export interface MissingDirectory {
  readonly path: string;
  /** That it is not there, and what to do. */
  readonly message: string;
}

/** Lists those that are not there. */
export async function missingDirectories(
  { images, directories }: Pick<DaemonConfig, "images" | "directories">,
): Promise<MissingDirectory[]> {
  const named: readonly (readonly [string, string | undefined])[] = [
    ["images.directory", images.directory],
    ["directories.sockets", directories.sockets],
    ["directories.credentials", directories.credentials],
    ["directories.criu", directories.criu],
  ];
  const missing: MissingDirectory[] = [];
  for (const [key, path] of named) {
    if (path === undefined) continue;
    const isDirectory = await Deno.stat(path).then((found) => found.isDirectory, () => false);
    if (isDirectory) continue;
    const message =
      `No such directory: ${path}: make it (mkdir -p ${path}), or name another with ${key}`;
    missing.push({ path, message });
  }
  return missing;
}

/**
 * Sees that they are there: else each request that needs one would fail, and say less.
 *
 * @throws {DaemonError} naming the first that is not
 */
export async function requireDirectories(config: DaemonConfig): Promise<void> {
  const [first] = await missingDirectories(config);
  if (first !== undefined) throw new DaemonError(first.message);
}
